"""Judge every method on the test patches, and compare them patient by patient."""

from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.runtime import log, progress, step
from workflow_scripts.common.schemas import RESTORATION, RESTORATION_SUMMARY
from workflow_scripts.common.tables import write_table
from workflow_scripts.denoising.judged import judged
from workflow_scripts.denoising.noisy import NOISY, noisy
from workflow_scripts.denoising.restored import Restored, read_restored
from workflow_scripts.denoising.rows import rows_of
from workflow_scripts.metrics.restoration_summary import summarise


def score_denoising(
    images: Path,
    shards: list[Path],
    restored: dict[str, Path],
    rows: Path,
    summary: Path,
    config: dict,
) -> None:
    """Write RESTORATION and RESTORATION_SUMMARY of all methods, and of the noisy patches themselves.

    Parameters
    ----------
    images : table IMAGES of the patches
    shards : the store's shards
    restored : file of each method
    config : `noise`, `images` (how many), `seed`, `score`, `reference`, `bootstrap`
    """
    noise = config["noise"]
    patches = judged(images, shards, "test", config["images"], config["seed"])
    variances = sorted(noise["variances"])
    degraded = [noisy(patches.clean, patches.names, noise, variance) for variance in variances]
    nothing = Restored(patches.names, variances, np.stack(degraded)[:, :, None])
    found = list(rows_of(NOISY, nothing, patches, noise, config["score"]))
    for method, path in progress(restored.items(), "judging", len(restored), "method"):
        found += rows_of(method, read_restored(path), patches, noise, config["score"])
    table = pd.DataFrame(found)
    write_table(table, rows, RESTORATION)
    means = summarise(table, config["reference"], config["bootstrap"], config["seed"])
    write_table(means, summary, RESTORATION_SUMMARY)
    for row in means[means["metric"] == "psnr"].itertuples():
        log.info(
            "%s, %s, mean of %d: PSNR %.2f dB (%.2f to %.2f)",
            row.condition, row.method, row.samples, row.value, row.low, row.high,
        )  # fmt: skip


if __name__ == "__main__":
    with step(snakemake) as config:
        score_denoising(
            Path(snakemake.input.images),
            [Path(path) for path in snakemake.input.shards],
            dict(zip(config["methods"], map(Path, snakemake.input.restored), strict=True)),
            Path(snakemake.output.rows),
            Path(snakemake.output.summary),
            config,
        )
