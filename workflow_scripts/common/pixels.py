"""Between stored grey levels and what networks see: uint8 in 0 to 255, float32 in [-1, 1]."""

import numpy as np
import torch
from torch import Tensor


def to_input(images: np.ndarray, device: torch.device) -> Tensor:
    """Return uint8 images (n, height, width) as float32 (n, 1, height, width) in [-1, 1].

    Raises
    ------
    TypeError
        For any other kind or shape: images on two scales are how wrong numbers arise.
    """
    if images.dtype != np.uint8 or images.ndim != 3:
        raise TypeError(f"expected uint8 (n, height, width), got {images.dtype} {images.shape}")
    pixels = torch.from_numpy(images)
    if device.type == "cuda":
        pixels = pixels.pin_memory()
    return pixels.to(device, non_blocking=True)[:, None].float() / 127.5 - 1


def to_uint8(x: Tensor) -> np.ndarray:
    """Quantise images (n, 1, height, width) in [-1, 1] to uint8 (n, height, width)."""
    grey = ((x[:, 0] + 1) * 127.5).round().clamp(0, 255)
    return grey.byte().cpu().numpy()
