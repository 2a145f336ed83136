"""Let a trained model fill in what is hidden of test images."""

from pathlib import Path

import numpy as np
import torch

from workflow_scripts.common.devices import leased_device
from workflow_scripts.common.files import whole_file
from workflow_scripts.common.pixels import to_input, to_pixels
from workflow_scripts.common.precision import use_tf32, wants_bf16
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import MASKS
from workflow_scripts.common.seeds import seed_for
from workflow_scripts.common.store import ImageStore, open_array
from workflow_scripts.common.tables import read_table
from workflow_scripts.diffusion.model import load_model
from workflow_scripts.diffusion.repaint import inpaint
from workflow_scripts.inpainting.filling import with_known

CPU = torch.device("cpu")


def inpaint_images(
    folder: Path,
    table: Path,
    masks: Path,
    shards: list[Path],
    sample: Path,
    mean: Path,
    config: dict,
) -> None:
    """Write one drawn answer to each mask, and the mean of several.

    The model is told all that it knows to be told of an image: its finding, and view, sex and age
    where it was trained with these. Known pixels are those of the image, to the bit.

    Parameters
    ----------
    folder : the trained model's
    table : table MASKS
    masks : bool (n, h, w) in `.npy`, rows as the table's
    shards : the image store's shards
    sample, mean : outputs, `.npy` of the images' type and shape, rows as the table's
    config : `sampler` section, `samples` (how many answers the mean is of), `seed`, `device`,
        `precision`
    """
    rows, hidden = read_table(table, MASKS), np.array(open_array(masks))
    images = ImageStore(rows, shards).all()
    total = 0.0
    with leased_device(config["device"]) as device:
        model = load_model(folder, device)
        bf16 = wants_bf16(config["precision"], device)
        use_tf32(bf16)
        c = model.conditions.encode(rows)
        given = to_input(images, CPU), torch.from_numpy(~hidden), c
        for number in range(config["samples"]):
            seeds = [
                seed_for(config["seed"], image_id, mask, number)
                for image_id, mask in zip(rows["image_id"], rows["mask"], strict=True)
            ]
            drawn = inpaint(model, *given, torch.tensor(seeds), config["sampler"], bf16)
            if number == 0:
                write(sample, drawn, images, hidden, model.bits)
            total = total + drawn.double()
    write(mean, total / config["samples"], images, hidden, model.bits)


def write(
    path: Path, drawn: torch.Tensor, images: np.ndarray, hidden: np.ndarray, bits: int
) -> None:
    """Write drawn images with the known pixels put back."""
    with whole_file(path) as partial:
        np.save(partial, with_known(to_pixels(drawn, bits), images, hidden))


if __name__ == "__main__":
    with step(snakemake) as config:
        if config is not None:  # not in the cache
            inpaint_images(
                Path(snakemake.input.model[0]).parent,
                Path(snakemake.input.table),
                Path(snakemake.input.masks),
                [Path(path) for path in snakemake.input.shards],
                Path(snakemake.output.sample),
                Path(snakemake.output.mean),
                config,
            )
