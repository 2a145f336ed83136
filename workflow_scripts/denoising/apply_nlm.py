"""Denoise the noisy test patches by non-local means, at the strengths that were tuned."""

from pathlib import Path

import numpy as np

from workflow_scripts.common.runtime import progress, step
from workflow_scripts.common.schemas import NLM_TUNING
from workflow_scripts.common.tables import read_table
from workflow_scripts.denoising.judged import judged
from workflow_scripts.denoising.nlm import non_local_means
from workflow_scripts.denoising.noisy import noisy
from workflow_scripts.denoising.restored import Restored, write_restored


def apply_nlm(images: Path, shards: list[Path], tuning: Path, restored: Path, config: dict) -> None:
    """Write what non-local means makes of the test patches at every noise level.

    Parameters
    ----------
    images : table IMAGES of the patches
    shards : the store's shards
    tuning : table NLM_TUNING
    restored : output, as `write_restored` writes it
    config : `method` (its settings), `noise`, `images` (how many), `seed`
    """
    noise = config["noise"]
    patches = judged(images, shards, "test", config["images"], config["seed"])
    table = read_table(tuning, NLM_TUNING)
    chosen = table[table["chosen"]].set_index("variance")["strength"]
    variances = sorted(noise["variances"])
    answers = [
        [
            non_local_means(y, noise["kind"], variance, chosen[variance], config["method"])
            for y in noisy(patches.clean, patches.names, noise, variance)
        ]
        for variance in progress(variances, "noise levels", unit="level")
    ]
    write_restored(Restored(patches.names, variances, np.array(answers)[:, :, None]), restored)


if __name__ == "__main__":
    with step(snakemake) as config:
        apply_nlm(
            Path(snakemake.input.images),
            [Path(path) for path in snakemake.input.shards],
            Path(snakemake.input.tuning),
            Path(snakemake.output.restored),
            config,
        )
