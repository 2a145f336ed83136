"""An image as every kind of data set gives it, and what every reader refuses."""

from typing import NamedTuple

import numpy as np

LARGEST_IMAGE = 40_000_000  # pixels; twice the largest flat-panel detector


class Unreadable(Exception):
    """One image cannot be used; the message is the reason that goes into the table of rejects."""


class Image(NamedTuple):
    """One image of a data set.

    `pixels` are grey levels from 0 (black) to 255 (white), (height, width) or (height, width,
    channels): uint8, or float32 where there is more to them than 8 bits; or why there are none.
    `name` is where the image was found, `mode` how it was stored: L, RGB, I;16, int16, …. `aspect` is
    the height of a pixel over its width.
    """

    image_id: str
    name: str
    pixels: np.ndarray | Unreadable
    mode: str
    aspect: float = 1.0


class Place(NamedTuple):
    """Where a channel of an image lies in a larger file, and which values are black and white if known.

    `file` is a path below the folder of the data or the stem of a file, `frame` a volume in it, from
    0, `position` a slice or row.
    """

    file: str
    position: int
    frame: int = 0
    low: float | None = None
    high: float | None = None


def check_size(width: int, height: int) -> None:
    """Refuse what declares too many pixels, before memory is taken for them."""
    if not 0 < width * height <= LARGEST_IMAGE:
        raise Unreadable(f"declares {width} x {height} pixels; the limit is {LARGEST_IMAGE:,}")


def window(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return values as grey levels: float32, `low` and below 0, `high` and above 255."""
    scaled = (values.astype(np.float64) - low) * (255 / (high - low))
    return scaled.clip(0, 255).astype(np.float32)
