"""Measure what was filled in against what was hidden, beside the biharmonic answer."""

from pathlib import Path

import numpy as np

from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import MASKS, RESTORATION, RESTORATION_SUMMARY
from workflow_scripts.common.store import ImageStore, open_array
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.metrics.restoration_rows import restoration_rows
from workflow_scripts.metrics.restoration_summary import summarise

BASELINE, OURS = "biharmonic", "repaint"


def measure_inpainting(
    table: Path,
    masks: Path,
    shards: list[Path],
    biharmonic: Path,
    sample: Path,
    mean: Path,
    lpips: dict[str, Path],
    restoration: Path,
    summary: Path,
    config: dict,
) -> None:
    """Write each image's measures within its mask, and their means for each kind of mask.

    Parameters
    ----------
    table : table MASKS; its masks are the conditions
    masks : bool (n, h, w) in `.npy`, rows as the table's
    shards : the image store's shards
    biharmonic, sample, mean : what was filled in, `.npy`, rows as the table's
    lpips : weights by LPIPS backbone, one at most. LPIPS is of the whole image, which differs from
        the true one within the mask alone
    restoration : output, table RESTORATION
    summary : output, table RESTORATION_SUMMARY
    config : `samples` (that the mean is of), `bootstrap`, `seed`
    """
    rows, hidden = read_table(table, MASKS), np.array(open_array(masks))
    answers = {(BASELINE, 1): open_array(biharmonic), (OURS, 1): open_array(sample)}
    if config["samples"] > 1:
        answers[OURS, config["samples"]] = open_array(mean)
    truth = ImageStore(rows, shards).all()
    found = restoration_rows(rows.assign(condition=rows["mask"]), truth, answers, hidden, lpips)
    write_table(found, restoration, RESTORATION)
    means = summarise(found, BASELINE, config["bootstrap"], config["seed"])
    write_table(means, summary, RESTORATION_SUMMARY)


if __name__ == "__main__":
    with step(snakemake) as config:
        measure_inpainting(
            Path(snakemake.input.table),
            Path(snakemake.input.masks),
            [Path(path) for path in snakemake.input.shards],
            Path(snakemake.input.biharmonic),
            Path(snakemake.input.sample),
            Path(snakemake.input.mean),
            dict(zip(config["lpips"], map(Path, snakemake.input.lpips), strict=True)),
            Path(snakemake.output.restoration),
            Path(snakemake.output.summary),
            config,
        )
