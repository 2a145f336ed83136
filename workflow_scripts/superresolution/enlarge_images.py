"""Reduce test images, and let a trained model and cubic interpolation enlarge them again."""

from pathlib import Path

import numpy as np
import torch

from workflow_scripts.common.devices import leased_device
from workflow_scripts.common.files import whole_file
from workflow_scripts.common.held_out import held_out
from workflow_scripts.common.pixels import to_input, to_pixels
from workflow_scripts.common.precision import use_tf32, wants_bf16
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import IMAGES
from workflow_scripts.common.seeds import seed_for
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.diffusion.model import load_model
from workflow_scripts.diffusion.sampler import sample

CPU = torch.device("cpu")


def enlarge_images(
    folder: Path,
    images: Path,
    shards: list[Path],
    table: Path,
    outputs: dict[str, Path],
    config: dict,
) -> None:
    """Write some test images reduced, and enlarged again in three ways.

    Parameters
    ----------
    folder : the trained model's
    images : table IMAGES
    shards : its images
    table : output, table IMAGES: those that were chosen
    outputs : `.npy` of the images' type, rows as the table's: `reduced`, and of the size of before
        `bicubic` (what the model is given), `sample` (one drawn answer) and `mean` (of all)
    config : `images` (how many), `sampler` section, `samples` (how many answers the mean is of),
        `seed`, `device`, `precision`
    """
    chosen = held_out(read_table(images, IMAGES), config["images"], config["seed"])
    x0 = to_input(ImageStore(chosen, shards).all(), CPU)
    total = 0.0
    with leased_device(config["device"]) as device:
        model = load_model(folder, device)
        bf16 = wants_bf16(config["precision"], device)
        use_tf32(bf16)
        small = model.degradation.reduced(x0)
        given = model.degradation.enlarged(small)
        c = model.conditions.encode(chosen)
        for number in range(config["samples"]):
            seeds = [seed_for(config["seed"], name, number) for name in chosen["image_id"]]
            settings = config["sampler"] | {"guidance": 1.0}
            drawn = sample(model, c, torch.tensor(seeds), settings, None, bf16, given)
            if number == 0:
                first = drawn
            total = total + drawn.double()
    answers = {
        "reduced": small,
        "bicubic": given,
        "sample": first,
        "mean": total / config["samples"],
    }
    for name, path in outputs.items():
        with whole_file(path) as partial:
            np.save(partial, to_pixels(answers[name], model.bits))
    write_table(chosen, table, IMAGES)


if __name__ == "__main__":
    with step(snakemake) as config:
        if config is not None:  # not in the cache
            enlarge_images(
                Path(snakemake.input.model).parent,
                Path(snakemake.input.images),
                [Path(path) for path in snakemake.input.shards],
                Path(snakemake.output.table),
                {
                    name: Path(snakemake.output[name])
                    for name in ("reduced", "bicubic", "sample", "mean")
                },
                config,
            )
