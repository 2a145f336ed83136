"""Between stored images and what networks see: float32 (n, c, h, w) in [-1, 1], whatever the depth."""

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.common.levels import DEPTHS, bits_of


def to_input(images: np.ndarray, device: torch.device) -> Tensor:
    """Return stored images (n, h, w) or (n, h, w, c) as float32 (n, c, h, w) in [-1, 1].

    Raises
    ------
    TypeError
        For any other kind or shape.
    """
    bits = bits_of(images.dtype)
    if images.ndim not in (3, 4):
        raise TypeError(f"expected images (n, h, w) or (n, h, w, c), got {images.shape}")
    # PyTorch computes little with uint16.
    pixels = torch.from_numpy(images if bits == 8 else images.astype(np.int32))
    if device.type == "cuda":
        pixels = pixels.pin_memory()
    return scaled(pixels.to(device, non_blocking=True), bits)


def scaled(pixels: Tensor, bits: int) -> Tensor:
    """Return stored levels (n, h, w) or (n, h, w, c) as float32 (n, c, h, w) in [-1, 1]."""
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels.movedim(-1, 1).contiguous()
    return pixels.float() / (DEPTHS[bits][1] / 2) - 1


def to_pixels(x: Tensor, bits: int = 8) -> np.ndarray:
    """Quantise images (n, c, h, w) in [-1, 1] to stored ones, (n, h, w) of one channel."""
    dtype, most = DEPTHS[bits]
    levels = ((x + 1) * (most / 2)).round().clamp(0, most)
    levels = levels[:, 0] if levels.shape[1] == 1 else levels.movedim(1, -1)
    return np.ascontiguousarray(levels.cpu().numpy().astype(dtype))
