"""Draw one shard of one class's synthetic images."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from workflow_scripts.common.devices import leased_device
from workflow_scripts.common.files import whole_file
from workflow_scripts.common.pixels import to_uint8
from workflow_scripts.common.precision import wants_bf16
from workflow_scripts.common.runtime import progress, step
from workflow_scripts.common.schemas import SAMPLES
from workflow_scripts.common.seeds import seed_for
from workflow_scripts.common.tables import write_table
from workflow_scripts.diffusion.network import load_denoiser
from workflow_scripts.diffusion.sampler import BATCH, trajectory


def draw_samples(weights: Path, pixels: Path, index: Path, config: dict) -> None:
    """Sample images `shard`, `shard + shards`, `shard + 2 shards`, … of a class.

    Parameters
    ----------
    weights : the network's safetensors file, with its config.json beside it
    pixels : output, uint8 (n, height, width) in `.npy`
    index : output, table SAMPLES
    config : `sampler` and `diffusion` sections, names `model_name` and `sampler_name`,
        `class_id`, `class_name`, `shard`, `device`, `precision`
    """
    sampler, class_id = config["sampler"], config["class_id"]
    numbers = np.arange(config["shard"], sampler["per_class"], sampler["shards"])
    # Named by what the image is, not by where it is drawn: shards do not change images.
    seeds = [seed_for(sampler["seed"], class_id, int(number)) for number in numbers]
    parts = []
    with leased_device(config["device"]) as device:
        denoiser = load_denoiser(weights, device)
        bf16 = wants_bf16(config["precision"], device)
        for start in progress(range(0, len(seeds), BATCH), "sampling", unit="batch"):
            batch = seeds[start : start + BATCH]
            classes = torch.full((len(batch),), class_id)
            *_, x = trajectory(denoiser, classes, batch, sampler, config["diffusion"], bf16)
            parts.append(to_uint8(x))
    with whole_file(pixels) as partial:
        np.save(partial, np.concatenate(parts))
    family = f"{config['model_name']}/{config['sampler_name']}/{pixels.parent.name}"
    write_table(
        pd.DataFrame(
            {
                "image_id": [f"{family}/{number:06d}" for number in numbers],
                "shard": pixels.stem,
                "row": np.arange(len(numbers)),
                "class_id": class_id,
                "class_name": config["class_name"],
                "seed": seeds,
            }
        ),
        index,
        SAMPLES,
    )


if __name__ == "__main__":
    with step(snakemake) as config:
        draw_samples(
            Path(snakemake.input.weights),
            Path(snakemake.output.pixels),
            Path(snakemake.output.index),
            config,
        )
