"""The one kernel that reduces every image."""

import numpy as np
from PIL import Image

from workflow_scripts.common.levels import DEPTHS

ROUNDING = 0.01  # of an aspect: such pixels are square


def reduce(pixels: np.ndarray, size: int, bits: int = 8, aspect: float = 1.0) -> np.ndarray:
    """Reduce grey levels to a square of `size`, antialiased and rounded once, each channel alike.

    First the mean over boxes of the largest whole factor, which is exact; then, where `size` does
    not divide the image, a step by less than 2 with a triangle filter as wide as that step. An
    image smaller than `size` is enlarged, bilinearly. One that is not square keeps its proportions:
    where its pixels are not square, it is first enlarged until they are, bilinearly; then black is put
    around it evenly until the image is.

    Parameters
    ----------
    pixels : (height, width) or (height, width, channels), uint8 or float32 in [0, 255]
    size : width and height of the result in pixels
    bits : 8, or 16 to keep what 8 bits would round away
    aspect : the height of a pixel over its width

    Returns
    -------
    (size, size) or (size, size, channels), rounded half up: uint8, or uint16 of 257 times the grey
    level, so that 255 is 65535.
    """
    if pixels.ndim == 3:
        channels = [reduce(pixels[..., n], size, bits, aspect) for n in range(pixels.shape[-1])]
        return np.stack(channels, axis=-1)
    if abs(aspect - 1) > ROUNDING:
        pixels = with_square_pixels(pixels, aspect)
    height, width = pixels.shape
    if height != width:
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        square = np.zeros((side, side), pixels.dtype)
        square[top : top + height, left : left + width] = pixels
        pixels = square
    image = Image.fromarray(np.ascontiguousarray(pixels))
    factor, rest = divmod(len(pixels), size)
    if bits == 8 and image.mode == "L" and rest == 0 and factor & (factor - 1) == 0:
        # A power of two: here Pillow's means of bytes are exact, and cheaper.
        return np.asarray(image.reduce(factor))
    # By other factors they are biased by up to 0.06, hence in float.
    exact = image.convert("F").resize((size, size), Image.Resampling.BILINEAR, reducing_gap=1.0)
    kind, white = DEPTHS[bits]
    scaled = np.asarray(exact) * np.float32(white / 255)
    return (scaled + np.float32(0.5)).clip(0, white).astype(kind)


def with_square_pixels(pixels: np.ndarray, aspect: float) -> np.ndarray:
    """Return an image (height, width) enlarged along the longer side of its pixels: float32."""
    height, width = pixels.shape
    shape = (width, round(height * aspect)) if aspect > 1 else (round(width / aspect), height)
    image = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.float32))
    return np.asarray(image.resize(shape, Image.Resampling.BILINEAR))
