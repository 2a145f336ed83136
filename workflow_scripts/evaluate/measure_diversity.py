"""Measure how different one sampler's images of a class are from each other."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from workflow_scripts.common.files import sha256_of
from workflow_scripts.common.runtime import log, progress, step
from workflow_scripts.common.schemas import IMAGES, METRICS, POOLED, SAMPLES
from workflow_scripts.common.seeds import generator
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.evaluate.rows import (
    JACKKNIFE,
    SETS,
    Pictures,
    metrics_table,
    of_class,
    row,
)
from workflow_scripts.evaluate.sets import Subsets, members
from workflow_scripts.metrics.diversity import (
    SCALE_WEIGHTS,
    lpips_distances,
    lpips_network,
    mean_and_variance,
    msssim_distances,
    random_pairs,
    ratio,
    scale_weights,
)
from workflow_scripts.metrics.estimates import Estimate


def measure_diversity(
    images: Path,
    shards: list[Path],
    samples: Path,
    sample_shards: list[Path],
    classes: list[str],
    lpips: dict[str, Path],
    pairs: int,
    seed: int,
    metrics: Path,
) -> None:
    """Write the ratios of the distance between two images of a class to that of real test images.

    Parameters
    ----------
    images, samples : tables of all real and of all synthetic images
    shards, sample_shards : their pixels
    classes : class names in the order of their ids
    lpips : weights by LPIPS backbone
    pairs : how many pairs per class to draw, if the poorest set has that many
    seed : decides which
    metrics : output, METRICS
    """
    table, sampled = read_table(images, IMAGES), read_table(samples, SAMPLES)
    pictures = Pictures(
        table, sampled, ImageStore(table, shards), ImageStore(sampled, sample_shards)
    )
    log.info(
        "MS-SSIM at %d of its %d scales, for images of %d pixels",
        len(scale_weights(pictures.real.size)),
        len(SCALE_WEIGHTS),
        pictures.real.size,
    )
    rows = diversity_rows(pictures, members(table, sampled, classes), lpips, pairs, seed)
    write_table(metrics_table(rows, seed), metrics, METRICS)


def diversity_rows(
    pictures: Pictures, everything: Subsets, lpips: dict[str, Path], pairs: int, seed: int
) -> Iterator[dict]:
    """Yield how different images of one class are, as a ratio to real test images.

    A class without images of two patients in some set is left out, and so is one whose real test
    images are equal: there is no ratio to nothing. If all are, nothing comes.
    `n` and `n_reference` count pairs. Floor and train are the ratios of real images of those
    splits; the ceiling are images that are all equal, 0.

    Parameters
    ----------
    everything : all rows of every set and class
    """
    drawn = equal_pairs(pictures, everything, pairs, seed)
    for label in everything["reference"].keys() - drawn["reference"].keys():
        log.warning("%s: no diversity without images of two patients in every set", label)
    if not drawn["reference"]:
        return
    measures: list[tuple[str, str, str | None, Callable]] = [
        ("msssim_diversity", "pixels", None, msssim_distances)
    ]
    for net, weights in lpips.items():
        distance = partial(lpips_distances, lpips_network(net, weights))
        measures.append(("lpips_diversity", net, sha256_of(weights), distance))
    for metric, extractor, sha256, distance in measures:
        distances = {
            name: {
                label: distance(*(pictures.gather(name, side) for side in chosen.T))
                for label, chosen in drawn[name].items()
            }
            for name in progress(SETS, f"{metric} of {extractor}", unit="set")
        }
        for label in [POOLED, *drawn["reference"]]:
            means = {}
            for name in SETS:
                chosen = of_class(drawn[name], label)
                owners = pictures.owners(name, chosen.ravel()).reshape(chosen.shape)
                means[name] = mean_and_variance(of_class(distances[name], label), owners)
            estimates = {name: ratio(means[name], means["reference"]) for name in SETS}
            if np.isnan([estimate.value for estimate in estimates.values()]).any():
                log.warning("%s: no %s, for its real test images are all alike", label, metric)
                continue
            estimates["ceiling"] = Estimate(0.0)
            total = len(of_class(drawn["reference"], label))
            cell = metric, extractor, sha256, label, total, total
            yield row(*cell, estimates, JACKKNIFE, "equal images")


def equal_pairs(pictures: Pictures, everything: Subsets, pairs: int, seed: int) -> Subsets:
    """Draw the same number of pairs of a class from every set: rows of its table, (pairs, 2)."""
    drawn = {
        name: {
            label: rows[
                random_pairs(
                    pictures.owners(name, rows), pairs, generator(seed, "pairs", name, label)
                )
            ]
            for label, rows in subset.items()
        }
        for name, subset in everything.items()
    }
    count = {label: min(len(drawn[name][label]) for name in SETS) for label in drawn["reference"]}
    return {
        name: {label: rows[: count[label]] for label, rows in subset.items() if count[label]}
        for name, subset in drawn.items()
    }


if __name__ == "__main__":
    with step(snakemake) as config:
        measure_diversity(
            images=Path(snakemake.input.images),
            shards=[Path(path) for path in snakemake.input.shards],
            samples=Path(snakemake.input.samples),
            sample_shards=[Path(path) for path in snakemake.input.sample_shards],
            classes=config["classes"],
            lpips=dict(zip(config["lpips"], map(Path, snakemake.input.lpips), strict=True)),
            pairs=config["pairs"],
            seed=config["seed"],
            metrics=Path(snakemake.output[0]),
        )
