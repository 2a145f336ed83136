"""Bounding boxes as NIH hands them out, and where they lie in a reduced image."""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.errors import InputError

NIH_SIDE = 1024  # pixels; of the images that NIH's boxes were drawn on
# NIH's names in this table that are not those of its label table.
ALIASES = {"Infiltrate": "Infiltration"}
COLUMNS = ["image_id", "finding", "x", "y", "width", "height"]

Box = tuple[float, float, float, float]  # x, y of the upper left corner, width, height, in pixels


def read_boxes(path: str | Path) -> pd.DataFrame:
    """Return NIH's table of boxes: columns COLUMNS, pixels of images of NIH_SIDE by NIH_SIDE.

    Its header names four of its six columns by a piece of `Bbox [x,y,w,h]` each.

    Raises
    ------
    InputError
        If the file is no such table.
    """
    try:
        table = pd.read_csv(path, usecols=range(6), header=0, names=COLUMNS, index_col=False)
        table = table.astype(dict.fromkeys(COLUMNS[2:], float))
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{path} is no table of boxes as NIH hands it out ({error})") from None
    return table.assign(finding=table["finding"].replace(ALIASES))


def box_in_film(box: Box, width: int, height: int) -> Box:
    """Return a box of NIH's in the pixels of a copy of the image that is `width` by `height`."""
    across, down = width / NIH_SIDE, height / NIH_SIDE
    return box[0] * across, box[1] * down, box[2] * across, box[3] * down


def box_in_store(box: Box, width: int, height: int, size: int) -> tuple[slice, slice]:
    """Return the rows and columns of a reduced image that a box covers by half or more along both axes.

    By the rule of `reduction.reduce`: the image is padded evenly to a square, then scaled. A box
    thinner than that still covers the pixel of its centre.

    Parameters
    ----------
    box : in pixels of the image before it was reduced
    width, height : of that image
    size : width and height of the reduced image
    """
    side = max(width, height)
    scale = size / side
    spans = []
    for start, length, extent in ((box[1], box[3], height), (box[0], box[2], width)):
        first = (start + (side - extent) // 2) * scale
        last = first + length * scale
        low, high = math.ceil(first - 0.5), math.floor(last + 0.5)
        if high <= low:
            low = math.floor((first + last) / 2)
            high = low + 1
        spans.append(slice(max(low, 0), min(high, size)))
    rows, columns = spans
    return rows, columns


def box_mask(boxes: list[Box], width: int, height: int, size: int) -> np.ndarray:
    """Return a mask of boxes together: uint8 (size, size), 1 inside; as `box_in_store`."""
    mask = np.zeros((size, size), dtype=np.uint8)
    for box in boxes:
        mask[box_in_store(box, width, height, size)] = 1
    return mask
