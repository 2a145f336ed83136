"""Fill in what is hidden of test images without having learned anything."""

from pathlib import Path

import numpy as np

from workflow_scripts.common.files import whole_file
from workflow_scripts.common.runtime import progress, step
from workflow_scripts.common.schemas import MASKS
from workflow_scripts.common.store import ImageStore, open_array
from workflow_scripts.common.tables import read_table
from workflow_scripts.inpainting.filling import biharmonic


def fill_biharmonic(table: Path, masks: Path, shards: list[Path], filled: Path) -> None:
    """Write biharmonic answers to all masks.

    Parameters
    ----------
    table : table MASKS
    masks : bool (n, h, w) in `.npy`, rows as the table's
    shards : the image store's shards
    filled : output, `.npy` of the images' type and shape, rows as the table's
    """
    images = ImageStore(read_table(table, MASKS), shards).all()
    pairs = zip(images, np.array(open_array(masks)), strict=True)
    found = [
        biharmonic(image, hidden)
        for image, hidden in progress(pairs, "biharmonic", total=len(images))
    ]
    with whole_file(filled) as partial:
        np.save(partial, np.stack(found))


if __name__ == "__main__":
    with step(snakemake):
        fill_biharmonic(
            Path(snakemake.input.table),
            Path(snakemake.input.masks),
            [Path(path) for path in snakemake.input.shards],
            Path(snakemake.output[0]),
        )
