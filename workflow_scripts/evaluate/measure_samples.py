"""Measure one sampler's images against real test images."""

from pathlib import Path

import pandas as pd

from workflow_scripts.common.figures import save_figure
from workflow_scripts.common.files import sha256_of
from workflow_scripts.common.runtime import log, step
from workflow_scripts.common.schemas import CONFUSION, IMAGES, METRICS, SAMPLES
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.evaluate import confusion
from workflow_scripts.evaluate.measures import (
    FeatureSpace,
    Pictures,
    accuracy_rows,
    confusion_counts,
    distance_rows,
    diversity_rows,
    memorisation_rows,
    seen_classes,
)
from workflow_scripts.evaluate.subsets import equal_subsets, members


def measure_samples(
    images: Path,
    shards: list[Path],
    samples: Path,
    sample_shards: list[Path],
    spaces: list[FeatureSpace],
    classifier: FeatureSpace,
    lpips: dict[str, Path],
    pairs: int,
    seed: int,
    classes: list[str],
    metrics: Path,
    confusion_table: Path,
    confusion_figure: Path,
) -> None:
    """Write every measure, and which class the domain classifier sees in which.

    Parameters
    ----------
    images, samples : tables of all real and of all synthetic images
    shards, sample_shards : their pixels
    spaces : extractors to measure distances and copies in
    classifier : the domain classifier's features
    lpips : weights by LPIPS backbone
    pairs : random pairs per class for the diversity measures
    seed : decides subsets, pairs, and which real images stand for many
    classes : class names in the order of their ids
    metrics, confusion_table, confusion_figure : outputs
    """
    table, sampled = read_table(images, IMAGES), read_table(samples, SAMPLES)
    pictures = Pictures(
        table, sampled, ImageStore(table, shards), ImageStore(sampled, sample_shards)
    )
    everything = members(table, sampled, classes)
    subsets = equal_subsets(everything, seed)
    for label in classes:
        count = len(subsets["reference"][label])
        log.info("%s: %d images of every set are compared", label, count)
        if count < 2:
            log.warning(
                "%s: with %d images per set it takes no part in the distances", label, count
            )
    seen = seen_classes(classifier, pictures, everything)
    rows = [row for space in spaces for row in distance_rows(space, pictures, subsets)]
    rows += diversity_rows(pictures, everything, lpips, pairs, seed)
    rows += accuracy_rows(everything, seen, sha256_of(classifier.weights))
    for space in spaces:
        rows += memorisation_rows(space, pictures, everything, seed)
    asked = confusion_counts(everything["synthetic"], seen["synthetic"])
    write_table(pd.DataFrame(rows).assign(seed=seed), metrics, METRICS)
    write_table(confusion.as_table(asked, classes), confusion_table, CONFUSION)
    save_figure(confusion.draw(asked, classes), confusion_figure)


if __name__ == "__main__":
    with step(snakemake) as config:
        paths = snakemake.input
        spaces = [
            FeatureSpace(name, *map(Path, files))
            for name, *files in zip(
                config["spaces"], paths.weights, paths.real, paths.features, strict=True
            )
        ]
        by_name = {space.name: space for space in spaces}
        measure_samples(
            images=Path(paths.images),
            shards=[Path(path) for path in paths.shards],
            samples=Path(paths.samples),
            sample_shards=[Path(path) for path in paths.sample_shards],
            spaces=[by_name[name] for name in config["extractors"]],
            classifier=by_name["domain"],
            lpips=dict(zip(config["lpips"], map(Path, paths.lpips), strict=True)),
            pairs=config["lpips_pairs"],
            seed=config["seed"],
            classes=config["classes"],
            metrics=Path(snakemake.output.metrics),
            confusion_table=Path(snakemake.output.confusion),
            confusion_figure=Path(snakemake.output.figure),
        )
