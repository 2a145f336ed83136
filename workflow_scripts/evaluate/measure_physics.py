"""Measure grey levels, power spectrum and edges of one sampler's images against real ones."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from workflow_scripts.common.figures import ACCENT, INK, MUTED, plt, save_figure
from workflow_scripts.common.levels import grey
from workflow_scripts.common.runtime import log, progress, step
from workflow_scripts.common.schemas import CONTROLS, IMAGES, METRICS, POOLED, SAMPLES
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.evaluate.rows import GROUPED, SETS, Pictures, metrics_table, of_class, row
from workflow_scripts.evaluate.sets import Subsets, equal_subsets, members
from workflow_scripts.metrics.estimates import Estimate, group_jackknife
from workflow_scripts.metrics.physics import (
    Profiles,
    decibels,
    intensity_distance,
    profiles,
    sharpness_ratio,
    spectrum_distance,
)

# Which part of the profiles each measure takes.
MEASURES = {
    "intensity_distance": ("intensity", intensity_distance),
    "spectrum_distance": ("spectrum", spectrum_distance),
    "sharpness_ratio": ("sharpness", sharpness_ratio),
}


def measure_physics(
    images: Path,
    shards: list[Path],
    samples: Path,
    sample_shards: list[Path],
    noise: Path,
    noise_index: Path,
    classes: list[str],
    seed: int,
    metrics: Path,
    figure: Path,
) -> None:
    """Write the measures, and draw what they are taken from.

    Of images in colour, or of 16 bits, their grey levels of 8 bits are measured (`pixels.grey`).

    Parameters
    ----------
    images, samples : tables of all real and of all synthetic images
    shards, sample_shards : their pixels
    noise, noise_index : the noise controls and their table
    classes : class names in the order of their ids
    seed : decides the equal sets, and what the jackknife leaves out together
    metrics, figure : outputs
    """
    table, sampled = read_table(images, IMAGES), read_table(samples, SAMPLES)
    pictures = Pictures(
        table, sampled, ImageStore(table, shards), ImageStore(sampled, sample_shards)
    )
    subsets = equal_subsets(members(table, sampled, classes), table["patient_id"], seed)
    measured = {
        name: {
            label: profiles(grey(pictures.gather(name, rows)))
            for label, rows in subset.items()
            if len(rows)
        }
        for name, subset in progress(subsets.items(), "measuring images", unit="set")
    }
    for label in subsets["reference"].keys() - measured["reference"].keys():
        log.warning("%s: no physics without an image in every set", label)
    controls = profiles(grey(ImageStore(read_table(noise_index, CONTROLS), [noise]).all()))
    rows = physics_rows(pictures, subsets, measured, controls, seed)
    write_table(metrics_table(rows, seed), metrics, METRICS)
    sets = [measured[name] for name in ("reference", "synthetic")]
    save_figure(draw(*map(pooled, sets)) if sets[0] else nothing_to_draw(), figure)


def pooled(measured: dict[str, Profiles]) -> Profiles:
    """Return the profiles of all classes as one set."""
    return Profiles(
        *(
            np.concatenate([getattr(part, name) for part in measured.values()])
            for name in Profiles.__annotations__
        )
    )


def physics_rows(
    pictures: Pictures,
    subsets: Subsets,
    measured: dict[str, dict[str, Profiles]],
    controls: Profiles,
    seed: int,
) -> Iterator[dict]:
    """Yield the measures of MEASURES, pooled and of each class; the ceiling is noise.

    Intervals of distances are cut at 0: near it they say no more than "as near as that". To flat
    images there is no ratio of sharpness, hence no row.

    Parameters
    ----------
    subsets : equal sets, rows by set and class
    measured : their profiles; a class without images has none
    controls : profiles of noise images
    """
    labels = list(measured["reference"])
    for label in [POOLED, *labels] if labels else []:
        x = {
            name: pooled(measured[name]) if label == POOLED else measured[name][label]
            for name in SETS
        }
        count = len(x["reference"])
        rows = {name: of_class(subsets[name], label) for name in SETS}
        owners = {name: pictures.owners(name, rows[name]) for name in SETS}
        own = labels if label == POOLED else [label]
        classes = np.repeat(own, [len(measured["reference"][name]) for name in own])
        for metric, (part, measure) in MEASURES.items():
            values = {name: getattr(x[name], part) for name in SETS}
            noise = getattr(controls, part)[:count]
            if np.isnan(measure(values["reference"], values["reference"])):
                log.warning("%s: no %s, for its real test images are flat", label, metric)
                continue
            estimates = {
                name: Estimate(measure(values[name], values["reference"]))
                for name in ("floor", "train")
            }
            estimates["ceiling"] = Estimate(measure(noise, values["reference"]))
            estimates["synthetic"] = group_jackknife(
                lambda here, there, measure=measure, values=values: measure(
                    values["synthetic"][here], values["reference"][there]
                ),
                owners["synthetic"],
                owners["reference"],
                seed,
                classes_x=classes,
                classes_y=classes,
            ).within(low=0.0)
            yield row(metric, "pixels", None, label, count, count, estimates, GROUPED, "noise")


def nothing_to_draw() -> Figure:
    """Return a figure that says why it is empty."""
    figure = plt.figure(figsize=(6, 0.6))
    figure.text(0, 0.5, "No class has images in every set: there is nothing to compare.")
    return figure


def draw(real: Profiles, synthetic: Profiles) -> Figure:
    """Draw histograms, spectra and the sharpness of each image, real against synthetic."""
    figure, (shares, power, sharp) = plt.subplots(1, 3, figsize=(11, 3.1), layout="constrained")

    levels = np.arange(real.intensity.shape[1])
    real_share, synthetic_share = (100 * x.intensity.mean(axis=0) for x in (real, synthetic))
    shares.fill_between(
        levels, real_share, color=MUTED, alpha=0.35, lw=0, label=f"{len(real)} real test images"
    )
    shares.plot(levels, synthetic_share, color=ACCENT, lw=1.2, label=f"{len(synthetic)} synthetic")
    # Black and white borders may hold most pixels, and would press the rest flat.
    shares.set_ylim(0, 1.15 * max(x[1:-1].max() for x in (real_share, synthetic_share)))
    shares.set_xlim(0, levels[-1])
    shares.set_xlabel("grey level")
    shares.set_ylabel("% of pixels")
    shares.set_title("Grey levels", loc="left", fontsize=10)

    frequencies = np.arange(1, real.spectrum.shape[1] + 1) / (2 * real.spectrum.shape[1])
    low, high = np.percentile(decibels(real.spectrum), [2.5, 97.5], axis=0)
    power.fill_between(
        frequencies, low, high, color=MUTED, alpha=0.25, lw=0, label="95 % of real test images"
    )
    for x, colour, label in ((real, INK, "real, mean"), (synthetic, ACCENT, "synthetic, mean")):
        power.plot(
            frequencies, decibels(x.spectrum.mean(axis=0)), color=colour, lw=1.2, label=label
        )
    power.set_xscale("log")
    ticks = [tick for tick in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if tick >= frequencies[0]]
    power.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    power.minorticks_off()
    power.set_xlabel("cycles per pixel")
    power.set_ylabel("power, dB")
    power.set_title("Power spectrum", loc="left", fontsize=10)

    edges = np.histogram_bin_edges(np.concatenate([real.sharpness, synthetic.sharpness]), 18)
    share = [np.full(len(x), 100 / len(x)) for x in (real, synthetic)]
    sharp.hist(real.sharpness, edges, weights=share[0], color=MUTED, alpha=0.35)
    sharp.hist(synthetic.sharpness, edges, weights=share[1], color=ACCENT, histtype="step", lw=1.2)
    sharp.set_xlabel("steepness of edges, grey levels per pixel")
    sharp.set_ylabel("% of images")
    sharp.set_title("Edge sharpness", loc="left", fontsize=10)

    for axes in (shares, power):
        axes.legend(fontsize=8)
    return figure


if __name__ == "__main__":
    with step(snakemake) as config:
        measure_physics(
            images=Path(snakemake.input.images),
            shards=[Path(path) for path in snakemake.input.shards],
            samples=Path(snakemake.input.samples),
            sample_shards=[Path(path) for path in snakemake.input.sample_shards],
            noise=Path(snakemake.input.noise),
            noise_index=Path(snakemake.input.noise_index),
            classes=config["classes"],
            seed=config["seed"],
            metrics=Path(snakemake.output.metrics),
            figure=Path(snakemake.output.figure),
        )
