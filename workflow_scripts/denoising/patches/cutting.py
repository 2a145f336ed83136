"""Patches: where they lie on an image, which of them show something, and which are kept."""

import numpy as np

from workflow_scripts.common.levels import DEPTHS
from workflow_scripts.common.seeds import generator

Place = tuple[int, int]  # top and left in pixels


def places(height: int, width: int, size: int, stride: int) -> list[Place]:
    """Return where the patches of an image lie, row by row from the upper left corner.

    What is left over at the right and at the bottom, less than a stride, is in none. An image
    smaller than a patch has none.
    """
    return [
        (top, left)
        for top in range(0, height - size + 1, stride)
        for left in range(0, width - size + 1, stride)
    ]


def content(image: np.ndarray, size: int, of: list[Place], background: float) -> np.ndarray:
    """Return the share of each patch's pixels that are brighter than the background: float64 (n,).

    Parameters
    ----------
    image : (height, width) or (height, width, channels), of which the brightest counts
    of : where the patches lie
    background : in units of the image
    """
    bright = image > background
    if bright.ndim == 3:
        bright = bright.any(axis=2)
    # Sums over rectangles from running sums.
    total = np.pad(bright.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    top, left = np.array(of, dtype=np.int64).reshape(-1, 2).T
    corners = total[top + size, left + size] - total[top, left + size]
    return (corners - total[top + size, left] + total[top, left]) / size**2


def kept(shares: np.ndarray, least: float, most: int | None, *seed: int | str) -> np.ndarray:
    """Return which patches of an image are kept, in order: those that show enough, `most` by lot.

    Parameters
    ----------
    shares : from `content`
    least : the least share that is enough
    most : None keeps them all
    seed : names the image, so that its lot depends on no other
    """
    enough = np.flatnonzero(shares >= least)
    if most is None or len(enough) <= most:
        return enough
    return np.sort(generator(*seed, "patches").choice(enough, most, replace=False))


def stored(image: np.ndarray, bits: int) -> np.ndarray:
    """Return grey levels from 0 to 255 as the store keeps them: uint8, or uint16 of 257 times as much.

    Rounded half up; what has 8 bits keeps them.
    """
    dtype, most = DEPTHS[bits]
    if image.dtype == dtype == np.uint8:
        return image
    levels = image.astype(np.float64) * (most / 255) + 0.5
    return levels.clip(0, most).astype(dtype)
