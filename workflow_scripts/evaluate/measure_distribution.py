"""Measure how far one sampler's images are from real ones as a distribution, in one feature space."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from workflow_scripts.common.runtime import log, progress, step
from workflow_scripts.common.schemas import IMAGES, METRICS, POOLED, SAMPLES
from workflow_scripts.common.store import open_array
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.evaluate.distances import (
    Images,
    frechet_estimates,
    kernel_estimates,
    manifold_estimates,
)
from workflow_scripts.evaluate.rows import (
    GROUPED,
    JACKKNIFE,
    SETS,
    FeatureSpace,
    Pictures,
    arrays_of_sets,
    metrics_table,
    of_class,
    row,
)
from workflow_scripts.evaluate.sets import Subsets, equal_subsets, members, wrong_class
from workflow_scripts.metrics.estimates import Estimate, group_jackknife
from workflow_scripts.metrics.kernels import median_distance
from workflow_scripts.metrics.scores import class_score


def measure_distribution(
    images: Path,
    samples: Path,
    space: FeatureSpace,
    classes: list[str],
    neighbours: int,
    seed: int,
    output: Path,
) -> None:
    """Write METRICS: Fréchet and kernel distances, precision, recall, density, coverage, score.

    All sets hold as many images of a class, real ones at most one of each patient. A class of fewer
    than two takes no part. Floor, train and ceiling are the same measures of as many real
    validation and training images, and as many validation images of the other classes (per class)
    or, pooled and where those are too few, of noise.

    Parameters
    ----------
    images, samples : tables of all real and of all synthetic images
    classes : class names in the order of their ids
    neighbours : k of precision, recall, density and coverage
    seed : decides which images stand for many, and groups for intervals
    output : METRICS; empty if no class has two images in every set
    """
    pictures = Pictures(read_table(images, IMAGES), read_table(samples, SAMPLES))
    everything = members(pictures.images, pictures.samples, classes)
    patients = pictures.images["patient_id"]
    subsets = equal_subsets(everything, patients, seed)
    for label, rows in subsets["reference"].items():
        log.info("%s: %d images of every set are compared", label, len(rows))
        if len(rows) < 2:
            log.warning("%s: with %d images per set it takes no part", label, len(rows))
    labels = [label for label, rows in subsets["reference"].items() if len(rows) > 1]
    subsets = {name: {label: subsets[name][label] for label in labels} for name in SETS}
    rows = []
    if labels:
        wrong = wrong_class(everything, subsets, patients, seed)
        rows += distance_rows(space, pictures, subsets, wrong, neighbours, seed)
        rows += score_rows(space, pictures, subsets, seed)
    write_table(metrics_table(rows, seed), output, METRICS)


def distance_rows(
    space: FeatureSpace,
    pictures: Pictures,
    subsets: Subsets,
    wrong: dict[str, np.ndarray],
    neighbours: int,
    seed: int,
) -> Iterator[dict]:
    """Yield all that is measured by features: pooled, then of each class."""
    features = arrays_of_sets(space.real, space.samples, pictures)
    noise = open_array(space.noise)
    counts = {label: len(rows) for label, rows in subsets["reference"].items()}
    bandwidth = median_distance(features["reference"][of_class(subsets["reference"], POOLED)])
    sha256 = space.sha256
    for label in progress([POOLED, *counts], f"distances in {space.name}", unit="class"):
        own = counts if label == POOLED else {label: counts[label]}
        classes, count = np.repeat(list(own), list(own.values())), sum(own.values())
        sets = {}
        for name in SETS:
            rows = of_class(subsets[name], label)
            sets[name] = Images(features[name][rows], pictures.owners(name, rows), classes)
        rows = wrong.get(label, ())
        if len(rows) == count:
            ceiling_of = "wrong class"
            sets["ceiling"] = Images(features["floor"][rows], pictures.owners("floor", rows), None)
        else:
            ceiling_of = "noise"
            sets["ceiling"] = Images(noise[:count], np.arange(min(count, len(noise))), None)
        reference = sets.pop("reference")
        measured = kernel_estimates(sets, reference, bandwidth)
        if label == POOLED:
            measured |= frechet_estimates(sets, reference, seed)
        measured |= manifold_estimates(sets, reference, neighbours, seed, label)
        for metric, estimates in measured.items():
            interval = JACKKNIFE if metric.endswith("kernel_distance") else GROUPED
            yield row(
                metric, space.name, sha256, label, count, count, estimates, interval, ceiling_of
            )


def score_rows(
    space: FeatureSpace, pictures: Pictures, subsets: Subsets, seed: int
) -> Iterator[dict]:
    """Yield the class score, if the extractor names classes.

    Nothing is compared with a reference: `n_reference` counts the validation images of the floor.
    """
    p = arrays_of_sets(space.real_classes, space.sample_classes, pictures)
    if not p["floor"].shape[1]:
        return
    rows = {name: of_class(subsets[name], POOLED) for name in ("synthetic", "floor", "train")}
    drawn = p["synthetic"][rows["synthetic"]]
    owners = pictures.owners("synthetic", rows["synthetic"])
    classes = pictures.samples["class_name"].to_numpy()[rows["synthetic"]]
    # A statistic of one set: that it is given a second one changes nothing.
    score = group_jackknife(
        lambda here, _: class_score(drawn[here]), owners, owners, seed, classes_x=classes
    )
    count = len(owners)
    estimates = {
        "synthetic": score,
        "floor": Estimate(class_score(p["floor"][rows["floor"]])),
        "train": Estimate(class_score(p["train"][rows["train"]])),
        "ceiling": Estimate(class_score(open_array(space.noise_classes)[:count])),
    }
    yield row(
        "class_score", space.name, space.sha256, POOLED, count, count, estimates, GROUPED, "noise"
    )


if __name__ == "__main__":
    with step(snakemake) as config:
        paths = snakemake.input
        measure_distribution(
            images=Path(paths.images),
            samples=Path(paths.samples),
            space=FeatureSpace(
                config["extractor"],
                Path(str(paths.weights)) if paths.weights else None,
                *map(Path, (paths.real, paths.features, paths.noise)),
                *map(Path, (paths.real_classes, paths.sample_classes, paths.noise_classes)),
            ),
            classes=config["classes"],
            neighbours=config["neighbours"],
            seed=config["seed"],
            output=Path(snakemake.output.metrics),
        )
