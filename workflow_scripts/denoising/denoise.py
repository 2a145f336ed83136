"""Let a trained network denoise noisy patches."""

from pathlib import Path

import numpy as np

from workflow_scripts.common.devices import leased_device
from workflow_scripts.common.runtime import log, step
from workflow_scripts.denoising.judged import judged
from workflow_scripts.denoising.learned import Learned
from workflow_scripts.denoising.noisy import noisy
from workflow_scripts.denoising.restored import Restored, write_restored
from workflow_scripts.diffusion.model import load_model


def denoise(images: Path, shards: list[Path], model: Path, restored: Path, config: dict) -> None:
    """Write what a network makes of the patches of a split at every noise level.

    Parameters
    ----------
    images : table IMAGES of the patches
    shards : the store's shards
    model : folder of the trained network
    restored : output, as `write_restored` writes it
    config : `sampler` (with `guidance`, `samples` and `seed`; null of a regressor), `noise`, `split`,
        `images` (how many), `seed`, `precision`, `device`
    """
    noise = config["noise"]
    patches = judged(images, shards, config["split"], config["images"], config["seed"])
    variances = sorted(noise["variances"])
    with leased_device(config["device"]) as device:
        network, sampler = load_model(model, device), config["sampler"]
        samples, seed = (sampler["samples"], sampler["seed"]) if sampler else (1, 0)
        method = Learned(network, sampler, samples, seed, config["precision"])
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


if __name__ == "__main__":
    with step(snakemake) as config:
        if config is not None:  # not in the cache
            denoise(
                Path(snakemake.input.images),
                [Path(path) for path in snakemake.input.shards],
                Path(snakemake.input.model[0]).parent,
                Path(snakemake.output.restored),
                config,
            )
