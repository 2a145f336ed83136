"""Residual maps: how far an image is from its healthy version, and what that says of it."""

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import TOP

# Standard deviation of the smoothing, as a share of the width: 2 pixels of 64.
SMOOTHING = 1 / 32
LEVELS = 256  # thresholds of a residual map, one per grey level


def residual_maps(images: np.ndarray, healed: np.ndarray) -> np.ndarray:
    """Return how many grey levels two versions of images are apart, smoothed.

    Parameters
    ----------
    images, healed : uint8 or uint16, both alike, (n, height, width) or (n, height, width, channels)

    Returns
    -------
    float32 (n, height, width) in [0, 255], whatever the depth; the mean of the channels

    Raises
    ------
    InputError
        If the two are not alike.
    """
    if images.shape != healed.shape or images.dtype != healed.dtype:
        raise InputError(
            f"images {images.dtype} {images.shape} and their healthy versions {healed.dtype} "
            f"{healed.shape} are not alike"
        )
    grey = 255 / np.iinfo(images.dtype).max
    apart = np.abs(images.astype(np.float32) - healed.astype(np.float32)) * np.float32(grey)
    if apart.ndim == 4:
        apart = apart.mean(axis=3)
    width = SMOOTHING * apart.shape[-1]
    return gaussian_filter(apart, (0, width, width), mode="nearest")


def image_scores(maps: np.ndarray) -> np.ndarray:
    """Return the mean of the largest `TOP` of each map's pixels: float64 (n,), in grey levels."""
    flat = maps.reshape(len(maps), -1)
    count = max(1, round(TOP * flat.shape[1]))
    return np.partition(flat, -count, axis=1)[:, -count:].mean(axis=1, dtype=np.float64)


def pixel_auroc(residual: np.ndarray, region: np.ndarray) -> float:
    """Return the AUROC of one map's pixels inside a region against those outside; ties count half.

    Parameters
    ----------
    residual : (height, width)
    region : bool (height, width), with pixels inside and outside
    """
    inside = region.ravel()
    positive, negative = inside.sum(), (~inside).sum()
    ranks = rankdata(residual.ravel())
    return float((ranks[inside].sum() - positive * (positive + 1) / 2) / (positive * negative))


def average_precision(residual: np.ndarray, region: np.ndarray) -> float:
    """Return the average precision of one map's pixels: the sum of precision times recall gained.

    Ties share one threshold; of pixels at random it is the region's share of the image.
    """
    score, inside = residual.ravel(), region.ravel()
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)
    found = np.cumsum(inside[order])[last]
    gained = np.diff(found, prepend=0)
    return float((gained * found / (1 + np.flatnonzero(last))).sum() / inside.sum())


def peak_inside(residual: np.ndarray, region: np.ndarray) -> bool:
    """Return whether the largest residual lies in the region (the pointing game)."""
    return bool(region.ravel()[residual.argmax()])


def dice_curve(residual: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Return 2 |A ∩ B| / (|A| + |B|) of a region and what exceeds each threshold.

    Returns
    -------
    float64 (LEVELS,), for thresholds of 0, 1, … 255 grey levels: pixels at or above one exceed it
    """
    level = np.clip(residual.ravel(), 0, LEVELS - 1).astype(np.int64)
    inside = region.ravel()
    above = np.bincount(level, minlength=LEVELS)[::-1].cumsum()[::-1]
    hit = np.bincount(level[inside], minlength=LEVELS)[::-1].cumsum()[::-1]
    return 2 * hit / (above + inside.sum())
