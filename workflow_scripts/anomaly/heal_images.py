"""Make images healthy: noise each up to a level, and denoise it as of the healthy class."""

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from workflow_scripts.anomaly.judged import judged_images, require_images
from workflow_scripts.common.devices import leased_device
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import whole_file
from workflow_scripts.common.pixels import to_input, to_pixels
from workflow_scripts.common.precision import use_tf32, wants_bf16
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import IMAGES
from workflow_scripts.common.seeds import seed_for
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table
from workflow_scripts.diffusion.model import Model, load_model
from workflow_scripts.diffusion.sampler import plan, sample

METHOD = "ddim"  # which adds no noise on its way
CHUNK = 1024  # images in memory at a time, as numbers of 32 bits


def heal_images(images: Path, shards: list[Path], folder: Path, healed: Path, config: dict) -> None:
    """Write the healthy version of every image that is judged.

    Parameters
    ----------
    images : table IMAGES
    shards : the image store's shards
    folder : of the model
    healed : output, `.npy`, stored as the images are, its rows those of `judged_images`
    config : `level` (noise over signal, σ/α), `device`, `precision`, and of an entry of `anomaly`
        `healthy`, `steps`, `guidance`, `per_class` and `seed`
    """
    table = read_table(images, IMAGES)
    require_images(table, config["healthy"])
    rows = judged_images(table, config["per_class"], config["seed"])
    store = ImageStore(rows, shards)
    with leased_device(config["device"]) as device:
        model = load_model(folder, device)
        bf16 = wants_bf16(config["precision"], device)
        use_tf32(bf16)
        c = as_healthy(model, rows, config["healthy"])
        seeds, found = seeds_of(config["seed"], rows["image_id"]), []
        for part in np.array_split(np.arange(len(rows)), -(-len(rows) // CHUNK)):
            x = to_input(store.gather(part), torch.device("cpu"))
            x = heal(model, x, c[part], seeds[part], config["level"], config, bf16)
            found.append(to_pixels(x, store.bits))
    with whole_file(healed) as partial:
        np.save(partial, np.concatenate(found))


def heal(
    model: Model,
    x: Tensor,
    c: Tensor,
    seeds: Tensor,
    level: float,
    settings: dict,
    bf16: bool = False,
) -> Tensor:
    """Return images noised to a level and denoised: float32, shaped as `x`, on the CPU.

    The noise is of the kind that the model was trained with. Denoising adds none: an image's healthy
    version depends on the image, its conditions and its seed alone.

    Parameters
    ----------
    x : float32 (n, c, h, w) in [-1, 1]
    c : conditions to denoise under, (n, width)
    seeds : int64 (n,), of the noise
    level : noise over signal, σ/α
    settings : `steps` and `guidance`

    Raises
    ------
    InputError
        If the model's process has no such level.
    """
    sampler = part_of_the_way(level, settings)
    first = plan(model.process, sampler)[0]
    if not math.isclose(first.ratio, level, rel_tol=1e-3):
        raise InputError(
            f"the model knows noise over signal of {first.ratio:.4g} at most, and is to heal from "
            f"{level:g}. Give less among `levels` of the section anomaly."
        )
    begin = first.alpha * x + first.sigma * model.process.noise(seeds, 0, x.shape[1:])
    return sample(model, c, seeds, sampler, bf16=bf16, begin=begin)


def part_of_the_way(level: float, settings: dict) -> dict:
    """Return a sampler that begins at a level: steps are even in log SNR, down to the process's end."""
    own = {name: settings[name] for name in ("steps", "guidance")}
    ends = {"sigma_min": None, "sigma_max": level}
    return {"method": METHOD, "spacing": "log_snr"} | ends | own


def as_healthy(model: Model, rows: pd.DataFrame, healthy: str) -> Tensor:
    """Return the conditions of images, had they shown nothing: float32 (n, width).

    View, sex and age stay the image's own, where the model knows them.
    """
    return model.conditions.encode(rows.assign(findings=healthy))


def seeds_of(seed: int, image_ids: Iterable[str]) -> Tensor:
    """Return the seed of each image's noise, which is the same at all levels: int64 (n,)."""
    return torch.tensor([seed_for(seed, image) for image in image_ids], dtype=torch.int64)


if __name__ == "__main__":
    with step(snakemake) as config:
        if config is not None:  # not in the cache
            heal_images(
                Path(snakemake.input.images),
                [Path(path) for path in snakemake.input.shards],
                Path(snakemake.input.model[0]).parent,
                Path(snakemake.output.healed),
                config,
            )
