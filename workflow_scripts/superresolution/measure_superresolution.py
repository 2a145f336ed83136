"""Measure enlarged test images against the true ones, beside cubic interpolation."""

from pathlib import Path

import numpy as np

from workflow_scripts.common.levels import DEPTHS, bits_of
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import IMAGES, RESTORATION, RESTORATION_SUMMARY
from workflow_scripts.common.store import ImageStore, open_array
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.metrics.restoration_rows import restoration_rows
from workflow_scripts.metrics.restoration_summary import summarise
from workflow_scripts.superresolution.consistency import inconsistency

BASELINE, OURS = "bicubic", "sr3"


def measure_superresolution(
    table: Path,
    shards: list[Path],
    bicubic: Path,
    sample: Path,
    mean: Path,
    lpips: dict[str, Path],
    restoration: Path,
    summary: Path,
    config: dict,
) -> None:
    """Write each image's measures, and their means.

    Parameters
    ----------
    table : table IMAGES, of the images that were enlarged
    shards : the image store's shards
    bicubic, sample, mean : enlarged images, `.npy`, rows as the table's
    lpips : weights by LPIPS backbone, one at most
    restoration : output, table RESTORATION
    summary : output, table RESTORATION_SUMMARY
    config : `factor`, `samples` (that the mean is of), `bootstrap`, `seed`
    """
    rows, factor = read_table(table, IMAGES), config["factor"]
    answers = {(BASELINE, 1): open_array(bicubic), (OURS, 1): open_array(sample)}
    if config["samples"] > 1:
        answers[OURS, config["samples"]] = open_array(mean)
    truth = ImageStore(rows, shards).all()
    found = restoration_rows(rows.assign(condition=f"x{factor}"), truth, answers, lpips=lpips)
    levels = DEPTHS[bits_of(truth.dtype)][1]
    found["inconsistency"] = np.concatenate(
        [inconsistency(answer, truth, factor) / levels for answer in answers.values()]
    )
    write_table(found, restoration, RESTORATION)
    means = summarise(found, BASELINE, config["bootstrap"], config["seed"])
    write_table(means, summary, RESTORATION_SUMMARY)


if __name__ == "__main__":
    with step(snakemake) as config:
        measure_superresolution(
            Path(snakemake.input.table),
            [Path(path) for path in snakemake.input.shards],
            Path(snakemake.input.bicubic),
            Path(snakemake.input.sample),
            Path(snakemake.input.mean),
            dict(zip(config["lpips"], map(Path, snakemake.input.lpips), strict=True)),
            Path(snakemake.output.restoration),
            Path(snakemake.output.summary),
            config,
        )
