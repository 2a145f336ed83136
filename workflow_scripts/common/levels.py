"""The levels of stored images, and what of them is grey, and what can be looked at.

Stored: uint8 (n, h, w), or uint16 where depth matters, and (n, h, w, c) of c > 1 channels.
"""

import numpy as np

# The greatest level that each type stores, by its bits.
DEPTHS = {8: (np.dtype(np.uint8), 255), 16: (np.dtype(np.uint16), 65535)}
LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # of R, G and B, Rec. 601


def bits_of(dtype: np.dtype) -> int:
    """Return the depth of stored images, 8 or 16.

    Raises
    ------
    TypeError
        For any other type: images on two scales are how wrong numbers arise.
    """
    for bits, (stored, _) in DEPTHS.items():
        if dtype == stored:
            return bits
    raise TypeError(f"expected images of uint8 or uint16, got {dtype}")


def grey(images: np.ndarray) -> np.ndarray:
    """Return what of stored images a measure sees that knows grey alone: uint8 (n, h, w).

    Of three channels their luminance, of any other number their mean; of 16 bits the upper ones,
    rounded.
    """
    if images.ndim == 4:
        channels = images.shape[-1]
        weights = LUMINANCE if channels == 3 else np.full(channels, 1 / channels, np.float32)
        levels = (images.astype(np.float32) @ weights).round()
        images = levels.clip(0, DEPTHS[bits_of(images.dtype)][1]).astype(images.dtype)
    return eight_bits(images)


def perceived(images: np.ndarray) -> np.ndarray:
    """Return what of stored images a measure sees that knows colour: uint8 (n, h, w) or (n, h, w, 3).

    Three channels are colour. Any other number is `grey`, not as `shown`: a measure leaves none out.
    """
    return eight_bits(images) if images.shape[3:] == (3,) else grey(images)


def shown(images: np.ndarray) -> np.ndarray:
    """Return stored images as pictures: uint8 (n, h, w), or (n, h, w, 3) of three channels.

    Of any other number of channels, which no eye has, the first is shown.
    """
    if images.ndim == 4 and images.shape[-1] != 3:
        images = images[..., 0]
    return eight_bits(images)


def eight_bits(images: np.ndarray) -> np.ndarray:
    """Return stored images of either depth as uint8, rounded."""
    if bits_of(images.dtype) == 8:
        return images
    return ((images.astype(np.uint32) + 128) // 257).astype(np.uint8)
