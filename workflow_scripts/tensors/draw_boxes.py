"""Draw NIH's bounding boxes as masks of the reduced images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.files import whole_file
from workflow_scripts.common.runtime import log, step
from workflow_scripts.common.schemas import REGIONS, SHARD_INDEX
from workflow_scripts.common.tables import read_table, table_of, write_table
from workflow_scripts.tensors.boxes import box_in_film, box_mask, read_boxes


def draw_boxes(boxes: Path, indices: Sequence[Path], masks: Path, index: Path, size: int) -> None:
    """Write one mask for each finding of each decoded image that has a box of it.

    Parameters
    ----------
    boxes : NIH's table
    indices : SHARD_INDEX of every archive, for the images' sizes before they were reduced
    masks : output, uint8 (rows, size, size): 1 in a box
    index : output, table REGIONS
    """
    images = pd.concat([read_table(path, SHARD_INDEX) for path in indices], ignore_index=True)
    known = read_boxes(boxes).merge(
        images[["image_id", "width", "height"]], on="image_id", suffixes=("", "_of_image")
    )
    drawn, rows = [], []
    for (image, finding), own in known.groupby(["image_id", "finding"]):
        width, height = (int(own[f"{side}_of_image"].iloc[0]) for side in ("width", "height"))
        corners = own[["x", "y", "width", "height"]].itertuples(index=False, name=None)
        mask = box_mask([box_in_film(box, width, height) for box in corners], width, height, size)
        drawn.append(mask)
        rows.append(
            {
                "image_id": image,
                "finding": finding,
                "shard": masks.stem,
                "row": len(rows),
                "pixels": int(mask.sum()),
            }
        )
    log.info("boxes on %d of %d images", known["image_id"].nunique(), len(images))
    with whole_file(masks) as partial:
        np.save(partial, np.array(drawn, dtype=np.uint8).reshape(-1, size, size))
    write_table(table_of(rows, REGIONS), index, REGIONS)


if __name__ == "__main__":
    with step(snakemake) as config:
        draw_boxes(
            Path(snakemake.input.boxes),
            [Path(path) for path in snakemake.input.indices],
            Path(snakemake.output.masks),
            Path(snakemake.output.index),
            config["size"],
        )
