"""The one kernel that reduces every image."""

import numpy as np
from PIL import Image


def reduce(pixels: np.ndarray, size: int) -> np.ndarray:
    """Reduce grey levels to a square of `size`, antialiased and rounded once.

    First the mean over boxes of the largest whole factor, which is exact; then, where `size` does
    not divide the image, a step by less than 2 with a triangle filter as wide as that step. An
    image smaller than `size` is enlarged, bilinearly. One that is not square keeps its aspect
    ratio: black is put around it evenly until it is.

    Parameters
    ----------
    pixels : (height, width), uint8 or float32 in [0, 255]
    size : width and height of the result in pixels

    Returns
    -------
    uint8 (size, size), rounded half up.
    """
    height, width = pixels.shape
    if height != width:
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        square = np.zeros((side, side), pixels.dtype)
        square[top : top + height, left : left + width] = pixels
        pixels = square
    image = Image.fromarray(pixels)
    factor, rest = divmod(len(pixels), size)
    if image.mode == "L" and rest == 0 and factor & (factor - 1) == 0:
        # A power of two: here Pillow's means of bytes are exact, and cheaper.
        return np.asarray(image.reduce(factor))
    # By other factors they are biased by up to 0.06, hence in float.
    exact = image.convert("F").resize((size, size), Image.Resampling.BILINEAR, reducing_gap=1.0)
    return (np.asarray(exact) + np.float32(0.5)).clip(0, 255).astype(np.uint8)
