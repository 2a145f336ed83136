"""Masks of what is hidden: boxes, strokes and halves drawn from seeds, or files.

A mask is bool (size, size), True where the image is hidden.
"""

import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from workflow_scripts.common.errors import InputError, few

FILES = "files"
MOST = 0.9  # of an image that may be hidden on purpose


def draw_mask(kind: str, size: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a mask of a kind: box, strokes or half.

    Parameters
    ----------
    share : of the image that a box or strokes hide, in (0, MOST]
    """
    match kind:
        case "box":
            return box(size, share, rng)
        case "strokes":
            return strokes(size, share, rng)
        case "half":
            return half(size, rng)
    raise ValueError(f"no mask {kind!r}")


def box(size: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Hide a rectangle anywhere, up to twice as long one way as the other."""
    high = round(math.sqrt(share * 2 ** rng.uniform(-1, 1)) * size)
    height = min(max(high, math.ceil(share * size)), size)  # so that the width is no more than all
    width = max(round(share * size**2 / height), 1)
    top, left = rng.integers(size - height + 1), rng.integers(size - width + 1)
    hidden = np.zeros((size, size), dtype=bool)
    hidden[top : top + height, left : left + width] = True
    return hidden


def strokes(size: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Hide brush strokes that wander about, one after another until they hide the share."""
    y, x = np.mgrid[:size, :size]
    hidden = np.zeros((size, size), dtype=bool)
    while True:
        at, angle = rng.uniform(0, size, 2), rng.uniform(0, 2 * math.pi)
        radius = max(size * rng.uniform(1 / 48, 1 / 16), 0.75)
        for _ in range(rng.integers(8, 25)):
            hidden |= (y - at[0]) ** 2 + (x - at[1]) ** 2 <= radius**2
            if hidden.mean() >= share:
                return hidden
            angle += rng.normal(0, 0.4)
            at = (at + radius * np.array([math.sin(angle), math.cos(angle)])).clip(0, size - 1)


def half(size: int, rng: np.random.Generator) -> np.ndarray:
    """Hide the left, right, upper or lower half."""
    hidden = np.zeros((size, size), dtype=bool)
    hidden[: size // 2] = True
    return np.ascontiguousarray(np.rot90(hidden, rng.integers(4)))


def read_masks(files: Sequence[Path], image_ids: Sequence[str], folder: Path, size: int) -> list:
    """Read the mask of each image from PNG files: white hides.

    A folder of one file holds the mask of all images. Else each image has its own, named as the
    image with the suffix .png, in the same subfolder.

    Parameters
    ----------
    files : all PNG files of the folder
    folder : that they are below

    Raises
    ------
    InputError
        If an image has no mask, or a file is none.
    """
    if len(files) == 1:
        return [read_mask(files[0], size)] * len(image_ids)
    known = {path.relative_to(folder).as_posix(): path for path in files}
    names = [PurePosixPath(name).with_suffix(".png").as_posix() for name in image_ids]
    if absent := sorted({name for name in names if name not in known}):
        raise InputError(
            f"{folder} holds no mask of {few(absent)}. Put there one PNG file per test image, named as the "
            "image, or a single one for all."
        )
    return [read_mask(known[name], size) for name in names]


def read_mask(path: Path, size: int) -> np.ndarray:
    """Read one PNG file; an `InputError` unless it is square, of `size` pixels, and hides a part."""
    try:
        with Image.open(path) as image:
            grey = np.asarray(image if image.mode.startswith("I") else image.convert("L"))
            hidden = grey >= (1 << 15 if image.mode.startswith("I") else 128)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as an image ({error}).") from None
    if hidden.shape != (size, size):
        raise InputError(
            f"{path} is {hidden.shape[1]} pixels wide and {hidden.shape[0]} high, images have "
            f"{size}². Reduce the mask to the size of the tensors."
        )
    refuse_extremes(hidden, str(path))
    return hidden


def refuse_extremes(hidden: np.ndarray, what: str) -> None:
    """Raise an `InputError` if a mask hides nothing, or everything."""
    if hidden.all() or not hidden.any():
        found = "everything: nothing is left to go by" if hidden.any() else "nothing (white hides)"
        raise InputError(f"{what} hides {found}. Give a mask that hides a part of the image.")
