"""Look for copies of training images among one sampler's images, in pixels and feature spaces."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.figures import save_figure
from workflow_scripts.common.files import sha256_of
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import CONTROLS, COPIES, IMAGES, METRICS, POOLED, SAMPLES
from workflow_scripts.common.seeds import generator
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.evaluate import closest
from workflow_scripts.evaluate.copy_controls import demand_control, say_coarse, seeing
from workflow_scripts.evaluate.rows import (
    CLUSTERED,
    EXACT,
    Pictures,
    metrics_table,
    of_class,
    row,
    rows_for,
)
from workflow_scripts.evaluate.search import FeaturesOf, Found, PixelsOf, audited_sets, search
from workflow_scripts.evaluate.sets import Subsets
from workflow_scripts.metrics.copies import (
    Chance,
    chance_of_copies,
    clustered_proportion,
)
from workflow_scripts.metrics.estimates import Estimate, proportion

PIXELS = "pixels"  # where every planted copy must be found
DOMAIN = "domain"  # whose network was trained on the seen side


@dataclass(frozen=True)
class Audited:
    """One extractor's files: its weights, and its features of each table of images."""

    name: str
    weights: Path
    real: Path
    samples: Path
    planted: Path


def audit_copies(
    images: Path,
    shards: list[Path],
    samples: Path,
    sample_shards: list[Path],
    planted_index: Path,
    planted: Path,
    extractors: list[Audited],
    classes: list[str],
    seed: int,
    metrics: Path,
    copies: Path,
    figure: Path,
) -> None:
    """Write which synthetic images look copied, how many, and the closest pairs.

    COPIES has of each space the classes whose planted copies are found there (see `seeing`).

    Parameters
    ----------
    images, samples : tables of all real and of all synthetic images
    shards, sample_shards : their pixels
    planted_index, planted : jittered copies of training images, CONTROLS and their pixels
    extractors : where to look beside pixels
    classes : class names in the order of their ids
    seed : decides which real images stand for many
    metrics, copies, figure : outputs, METRICS, COPIES and a PNG

    Raises
    ------
    InputError
        If a planted copy is not found in pixels, or no class has images in every set.
    """
    table, sampled = read_table(images, IMAGES), read_table(samples, SAMPLES)
    control = read_table(planted_index, CONTROLS)
    pictures = Pictures(
        table, sampled, ImageStore(table, shards), ImageStore(sampled, sample_shards)
    )
    everything = audited_sets(pictures, control, classes)
    stores = {"real": pictures.real, "synthetic": pictures.synthetic}
    stores["planted"] = ImageStore(control, [planted])
    found = {PIXELS: search(PIXELS, pictures, PixelsOf(stores), everything, seed)}
    demand_control(found[PIXELS], control, everything)
    say_coarse(found[PIXELS].limits)
    sha256: dict[str, str | None] = {PIXELS: None}
    for given in extractors:
        paths = {"real": given.real, "synthetic": given.samples, "planted": given.planted}
        space = FeaturesOf(
            {name: rows_for(path, len(stores[name])) for name, path in paths.items()}
        )
        found[given.name] = search(given.name, pictures, space, everything, seed)
        sha256[given.name] = sha256_of(given.weights)
    rows = [
        row
        for name in found
        for row in copy_rows(name, sha256[name], found[name], everything, seed)
    ]
    tables = [
        found_table(name, each, pictures, everything, labels)
        for name, each in found.items()
        if (labels := seeing(name, each))
    ]
    write_table(metrics_table(rows, seed), metrics, METRICS)
    write_table(pd.concat(tables, ignore_index=True), copies, COPIES)
    save_figure(closest.draw(*closest.closest_pairs(tables[0], pictures)), figure)


def copy_rows(
    space: str, sha256: str | None, found: Found, everything: Subsets, seed: int
) -> Iterator[dict]:
    """Yield the shares of images that look copied, `memorised_fraction` and `closer_to_train`.

    `memorised_fraction`: of images nearer to one of *all* training images than held-out ones are,
    by the threshold of each class (see `copies.copy_limits`), beside what chance alone would find
    (see `copies.chance_of_copies`); its interval takes the threshold as given. Merely typical
    images, which are near to everything, pass the threshold too; hence `closer_to_train`: of images
    nearer to a training image than to any of equally many held-out ones (validation and test) of
    the same classes. 0.5 is expected, but for the domain network, which was trained on the seen
    side and tells it from the unseen one: there what is expected is the floor. Images whose nearest
    real one is of one patient are one cluster: few real images may be nearest to many.

    Floor, train and ceiling are the shares of real test images, of real training images and of
    planted copies, every class with the weight that it has among the synthetic images. `n` counts
    synthetic images, `n_reference` the validation patients behind the threshold, or the images on
    each side.
    """
    labels = list(found.limits)
    drawn = {label: len(everything["synthetic"][label]) for label in labels}

    def shares(flags: Subsets, own: list[str]) -> dict[str, Estimate]:
        weights = [drawn[one] for one in own]
        return {
            name: Estimate(
                float(np.average([flags[part][one].mean() for one in own], weights=weights))
            )
            for name, part in (("floor", "test"), ("train", "train"), ("ceiling", "planted"))
        }

    for label in [POOLED, *labels]:
        own = labels if label == POOLED else [label]
        numbers, limits = [drawn[one] for one in own], [found.limits[one] for one in own]
        copied, closer = (
            of_class(flags["synthetic"], label) for flags in (found.copied, found.closer)
        )
        estimates = {"synthetic": proportion(copied.sum(), len(copied))} | shares(found.copied, own)
        chance = chance_of_copies(numbers, limits, generator(seed, "chance", label))
        count = sum(numbers), sum(limit.held_out for limit in limits)
        yield row(
            "memorised_fraction", space, sha256, label, *count, estimates, EXACT,
            "planted copies", chance,
        )  # fmt: skip
        owners = of_class(found.owners, label)
        estimates = {"synthetic": clustered_proportion(closer, owners)} | shares(found.closer, own)
        chance = Chance(estimates["floor"].value if space == DOMAIN else 0.5)
        count = sum(numbers), sum(found.sides[one] for one in own)
        yield row(
            "closer_to_train", space, sha256, label, *count, estimates, CLUSTERED,
            "planted copies", chance,
        )  # fmt: skip


def found_table(
    name: str, found: Found, pictures: Pictures, everything: Subsets, labels: list[str]
) -> pd.DataFrame:
    """Return COPIES of some classes in one feature space, in the order of the table of samples."""
    ids = pictures.images["image_id"].to_numpy()
    parts = [
        pd.DataFrame(
            {
                "image_id": pictures.samples["image_id"].to_numpy()[everything["synthetic"][label]],
                "class_name": label,
                "extractor": name,
                "nearest_image_id": ids[found.nearest[label].position],
                "distance": found.nearest[label].distance,
                "threshold": found.limits[label].distance,
                "copied": found.copied["synthetic"][label],
            },
            index=everything["synthetic"][label],
        )
        for label in labels
    ]
    return pd.concat(parts).sort_index()


if __name__ == "__main__":
    with step(snakemake) as config:
        paths = snakemake.input
        audit_copies(
            images=Path(paths.images),
            shards=[Path(path) for path in paths.shards],
            samples=Path(paths.samples),
            sample_shards=[Path(path) for path in paths.sample_shards],
            planted_index=Path(paths.planted_index),
            planted=Path(paths.planted),
            extractors=[
                Audited(name, *map(Path, files))
                for name, *files in zip(
                    config["extractors"],
                    paths.weights,
                    paths.real,
                    paths.features,
                    paths.planted_features,
                    strict=True,
                )
            ],
            classes=config["classes"],
            seed=config["seed"],
            metrics=Path(snakemake.output.metrics),
            copies=Path(snakemake.output.copies),
            figure=Path(snakemake.output.figure),
        )
