"""Let one method denoise the noisy test patches."""

from pathlib import Path

import numpy as np
import torch

from workflow_scripts.common.devices import leased_device
from workflow_scripts.common.runtime import log, step
from workflow_scripts.denoising.denoisers import Learned, NonLocalMeans
from workflow_scripts.denoising.judged import judged
from workflow_scripts.denoising.noisy import noisy
from workflow_scripts.denoising.restored import Restored, write_restored
from workflow_scripts.diffusion.model import load_model


def denoise(images: Path, shards: list[Path], source: Path, restored: Path, config: dict) -> None:
    """Write what a method makes of the test patches at every noise level, as `write_restored` does.

    Parameters
    ----------
    images : table IMAGES of the patches
    shards : the store's shards
    source : table NLM_TUNING of non-local means; of another method model.json in the model's folder
    config : `method` (its settings), `sampler` (with `guidance`, `samples` and `seed`; of diffusion),
        `noise`, `images` (how many), `seed`, `precision`, `device`
    """
    noise = config["noise"]
    patches = judged(images, shards, "test", config["images"], config["seed"])
    variances = sorted(noise["variances"])
    with leased_device(config["device"]) as device:
        if config["method"]["kind"] == "nlm":
            method = NonLocalMeans(config["method"], source, noise["kind"])
        else:
            method = learned(source.parent, device, config)
        answers = []
        for variance in variances:
            degraded = noisy(patches.clean, patches.names, noise, variance)
            answers.append(method(degraded, patches.names, variance))
    log.info(
        "%d patches at %d levels, answers to each: %d",
        len(patches.table),
        len(variances),
        method.samples,
    )
    write_restored(Restored(patches.names, variances, np.stack(answers)), restored)


def learned(folder: Path, device: torch.device, config: dict) -> Learned:
    """Return a trained network of either kind as a method."""
    model, precision = load_model(folder, device), config["precision"]
    if config["method"]["kind"] == "regression":
        return Learned(model, None, 1, 0, precision)
    sampler = config["sampler"]
    return Learned(model, sampler, sampler["samples"], sampler["seed"], precision)


if __name__ == "__main__":
    with step(snakemake) as config:
        if config is not None:  # not in the cache
            denoise(
                Path(snakemake.input.images),
                [Path(path) for path in snakemake.input.shards],
                Path(snakemake.input.source[0]),
                Path(snakemake.output.restored),
                config,
            )
