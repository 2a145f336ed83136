"""Choose test images, and what of each is hidden."""

from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.files import whole_file
from workflow_scripts.common.held_out import held_out
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import IMAGES, MASKS
from workflow_scripts.common.seeds import generator
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.inpainting.masks import FILES, draw_mask, read_masks


def draw_masks(
    images: Path, shards: list[Path], files: list[Path], masks: Path, table: Path, config: dict
) -> None:
    """Write a mask of every kind for each of some test images.

    Parameters
    ----------
    images : table IMAGES
    shards : its images
    files : the PNG files of the folder of masks; none where no kind reads them
    masks : output, bool (n, size, size) in `.npy`, True where the image is hidden
    table : output, table MASKS, rows as `masks`
    config : `images` (how many), `masks` section, `seed`

    Raises
    ------
    InputError
        If an image has no mask of its own, or a file is no mask of a part of the image.
    """
    chosen = held_out(read_table(images, IMAGES), config["images"], config["seed"])
    size = ImageStore(chosen, shards).size
    settings = config["masks"]
    rows, hidden = [], []
    for kind in settings["kinds"]:
        if kind == FILES:
            own = read_masks(files, chosen["image_id"], Path(settings["folder"]), size)
        else:
            own = [
                draw_mask(kind, size, settings["share"], generator(config["seed"], kind, name))
                for name in chosen["image_id"]
            ]
        hidden.extend(own)
        rows.append(chosen.assign(mask=kind, hidden=[mask.mean() for mask in own]))
    with whole_file(masks) as partial:
        np.save(partial, np.stack(hidden))
    write_table(pd.concat(rows, ignore_index=True), table, MASKS)


if __name__ == "__main__":
    with step(snakemake) as config:
        draw_masks(
            Path(snakemake.input.images),
            [Path(path) for path in snakemake.input.shards],
            [Path(path) for path in snakemake.input.files],
            Path(snakemake.output.masks),
            Path(snakemake.output.table),
            config,
        )
