"""Draw one shard of one class's synthetic images."""

from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.devices import leased_device
from workflow_scripts.common.files import whole_file
from workflow_scripts.common.pixels import to_pixels
from workflow_scripts.common.precision import use_tf32, wants_bf16
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import SAMPLES
from workflow_scripts.common.tables import write_table
from workflow_scripts.diffusion.model import load_guide, load_model
from workflow_scripts.diffusion.sampler import image_seeds, sample, stated


def draw_samples(folder: Path, pixels: Path, index: Path, config: dict) -> None:
    """Sample images `shard`, `shard + shards`, `shard + 2 shards`, … of a class.

    Parameters
    ----------
    folder : the trained model's
    pixels : output in `.npy`, typed and shaped as the images that the model learned from
    index : output, table SAMPLES
    config : `sampler` section, names `model_name` and `sampler_name`, `class_id`, `class_name`,
        `shard`, `device`, `precision`
    """
    sampler, name = config["sampler"], config["class_name"]
    numbers = np.arange(config["shard"], sampler["per_class"], sampler["shards"])
    seeds = image_seeds(sampler["seed"], name, numbers)
    with leased_device(config["device"]) as device:
        model = load_model(folder, device)
        guide = load_guide(folder, sampler["autoguidance"], device)
        c = stated(model, name, sampler["condition"]).expand(len(seeds), -1)
        bf16 = wants_bf16(config["precision"], device)
        use_tf32(bf16)
        images = to_pixels(sample(model, c, seeds, sampler, guide, bf16), model.bits)
    with whole_file(pixels) as partial:
        np.save(partial, images)
    family = f"{config['model_name']}/{config['sampler_name']}/{pixels.parent.name}"
    write_table(
        pd.DataFrame(
            {
                "image_id": [f"{family}/{number:06d}" for number in numbers],
                "shard": pixels.stem,
                "row": np.arange(len(numbers)),
                "class_id": config["class_id"],
                "class_name": name,
                "seed": seeds.numpy(),
            }
        ),
        index,
        SAMPLES,
    )


if __name__ == "__main__":
    with step(snakemake) as config:
        if config is not None:  # not in the cache
            draw_samples(
                Path(snakemake.input.model[0]).parent,
                Path(snakemake.output.pixels),
                Path(snakemake.output.index),
                config,
            )
