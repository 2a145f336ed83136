"""Whether an enlarged image is one of those that the small one may have come from."""

import numpy as np


def inconsistency(enlarged: np.ndarray, truth: np.ndarray, factor: int) -> np.ndarray:
    """Return how far enlarged images, reduced again, are from the reduced true ones: (n,).

    The mean absolute difference of the means over boxes of `factor` pixels, in levels. The small
    image decides these: what differs is no detail that it left open.

    Parameters
    ----------
    enlarged, truth : stored images, (n, h, w) or (n, h, w, channels)
    """
    error = boxes(enlarged, factor) - boxes(truth, factor)
    return np.abs(error).reshape(len(error), -1).mean(axis=1)


def boxes(images: np.ndarray, factor: int) -> np.ndarray:
    """Return the means over boxes: float64 (n, h / factor, w / factor, …)."""
    count, height, width = images.shape[:3]
    shape = (count, height // factor, factor, width // factor, factor, *images.shape[3:])
    return images.astype(np.float64).reshape(shape).mean(axis=(2, 4))
