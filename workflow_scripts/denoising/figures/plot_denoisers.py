"""Draw the study: methods against noise levels, quality against steps, and examples."""

from pathlib import Path

import numpy as np

from workflow_scripts.common.figures import save_figure
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import RESTORATION_SUMMARY, SWEEP
from workflow_scripts.common.tables import read_table
from workflow_scripts.denoising.figures.colours import colours_of
from workflow_scripts.denoising.figures.examples import Picture, draw_examples
from workflow_scripts.denoising.figures.methods import draw_methods, draw_steps, named
from workflow_scripts.denoising.judged import Judged, chosen, judged
from workflow_scripts.denoising.noisy import NOISY, condition, noisy
from workflow_scripts.denoising.restored import read_restored

SHOWN = 3  # patches in the panel of examples


def plot_denoisers(
    images: Path,
    shards: list[Path],
    restored: dict[str, Path],
    summary: Path,
    sweep: Path,
    figures: dict[str, Path],
    config: dict,
) -> None:
    """Draw the figures `methods`, `steps` and `examples`, the last at the middle noise level.

    Parameters
    ----------
    images : table IMAGES of the patches
    shards : the store's shards
    restored : file of each method
    summary, sweep : tables RESTORATION_SUMMARY and SWEEP
    figures : outputs, by name
    config : `noise`, `images` (how many), `seed`, `score`, `swept` (the
        method of the sweep)
    """
    noise = config["noise"]
    variances = {condition(noise, variance): variance for variance in noise["variances"]}
    # Without the noisy patches themselves, which are so far off that the methods would look alike.
    colours = colours_of(restored)
    table = read_table(summary, RESTORATION_SUMMARY)
    save_figure(draw_methods(table, variances, colours), figures["methods"])
    steps = read_table(sweep, SWEEP)
    save_figure(
        draw_steps(steps, config["swept"], colours_of(steps["sampler"].unique())),
        figures["steps"],
    )
    patches = judged(images, shards, "test", config["images"], config["seed"])
    level = (len(variances) - 1) // 2
    rows = example_rows(patches, restored, noise, level)
    name = condition(noise, sorted(noise["variances"])[level])
    save_figure(draw_examples(rows, name, config["score"]), figures["examples"])


def example_rows(
    patches: Judged, restored: dict[str, Path], noise: dict, level: int
) -> list[tuple[np.ndarray, list[Picture]]]:
    """Return of a few patches the clean image and what became of it, method by method."""
    places = chosen(patches, SHOWN)
    variance = sorted(noise["variances"])[level]
    clean = patches.clean[places]
    names = [patches.names[place] for place in places]
    rows = [[Picture(NOISY, image)] for image in noisy(clean, names, noise, variance)]
    for method, path in restored.items():
        found = read_restored(path)
        for row, place in zip(rows, places, strict=True):
            answers = found.images[level, place]
            row.append(
                Picture(method, answers[0])
                if len(answers) == 1
                else Picture(
                    named(method, len(answers)).replace(", ", "\n"),
                    answers.mean(axis=0),
                    answers.std(axis=0, ddof=1),
                )
            )
    return list(zip(clean, rows, strict=True))


if __name__ == "__main__":
    with step(snakemake) as config:
        plot_denoisers(
            Path(snakemake.input.images),
            [Path(path) for path in snakemake.input.shards],
            dict(zip(config["methods"], map(Path, snakemake.input.restored), strict=True)),
            Path(snakemake.input.summary),
            Path(snakemake.input.sweep),
            {name: Path(snakemake.output[name]) for name in ("methods", "steps", "examples")},
            config,
        )
