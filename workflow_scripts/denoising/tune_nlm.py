"""Tune the strength of non-local means for each noise level, on validation patches."""

from pathlib import Path

import numpy as np

from workflow_scripts.common.runtime import log, progress, step
from workflow_scripts.common.schemas import NLM_TUNING
from workflow_scripts.common.tables import table_of, write_table
from workflow_scripts.denoising.judged import judged
from workflow_scripts.denoising.nlm import non_local_means
from workflow_scripts.denoising.noisy import condition, noisy
from workflow_scripts.denoising.rows import mask_of
from workflow_scripts.metrics.restoration import psnr


def tune_nlm(images: Path, shards: list[Path], tuning: Path, config: dict) -> None:
    """Write NLM_TUNING: every strength that was tried at every noise level, and the best.

    The best is that with the highest mean PSNR over the patches, of the pixels that are judged; of equal
    ones the weakest.

    Parameters
    ----------
    images : table IMAGES of the patches
    shards : the store's shards
    config : `method` (settings of the method), `noise`, `images` (how many), `score`, `seed`
    """
    settings, noise, score = config["method"], config["noise"], config["score"]
    patches = judged(images, shards, "val", config["images"], config["seed"])
    rows = []
    for variance in progress(sorted(noise["variances"]), "noise levels", unit="level"):
        degraded = noisy(patches.clean, patches.names, noise, variance)
        tried = []
        for strength in sorted(settings["strengths"]):
            found = [
                psnr(clean, restored.clip(0, 1), score["data_range"], mask_of(clean, score))
                for clean, restored in zip(
                    patches.clean,
                    (
                        non_local_means(y, noise["kind"], variance, strength, settings)
                        for y in degraded
                    ),
                    strict=True,
                )
            ]
            tried.append((strength, float(np.mean(found))))
        best = max(tried, key=lambda pair: pair[1])
        log.info("%s: h = %g σ, PSNR %.2f dB", condition(noise, variance), *best)
        if len(tried) > 1 and best[0] in (tried[0][0], tried[-1][0]):
            log.warning("the best strength is the end of the list: try others beyond it")
        rows += [
            {
                "condition": condition(noise, variance),
                "variance": variance,
                "strength": strength,
                "n_images": len(patches.table),
                "psnr": value,
                "chosen": (strength, value) == best,
            }
            for strength, value in tried
        ]
    write_table(table_of(rows, NLM_TUNING), tuning, NLM_TUNING)


if __name__ == "__main__":
    with step(snakemake) as config:
        tune_nlm(
            Path(snakemake.input.images),
            [Path(path) for path in snakemake.input.shards],
            Path(snakemake.output.tuning),
            config,
        )
