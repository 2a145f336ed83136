"""Resampling by patient: images of one patient resemble each other and count as one draw."""

from collections.abc import Callable, Iterator

import numpy as np
from scipy.stats import norm

from workflow_scripts.common.runtime import progress

BLOCK = 64  # resamples held at a time: 2 MB of weights at 7,000 images, which a cache holds
# Standard errors that a true difference must measure for a two-sided test at 5 % to find it with
# 80 % power: 1.96 + 0.84.
POWERED = float(norm.ppf(0.975) + norm.ppf(0.8))


def resamples(patients: np.ndarray, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield bootstrap resamples of patients as weights of their images, in blocks.

    Each resample draws as many patients as there are, with replacement; an image counts as often
    as its patient was drawn. Used for every arm and seed alike, the resamples are paired.

    Parameters
    ----------
    patients : (n,) patient of each image
    count : resamples in all

    Yields
    ------
    float32 (n, b) of whole numbers, b at most `BLOCK`; the blocks' b sum to `count`
    """
    _, patient = np.unique(patients, return_inverse=True)
    total = int(patient.max()) + 1
    for start in range(0, count, BLOCK):
        block = min(BLOCK, count - start)
        drawn = rng.integers(total, size=(block, total))
        drawn += np.arange(block)[:, None] * total
        times = np.bincount(drawn.ravel(), minlength=block * total).reshape(block, total)
        yield np.ascontiguousarray(times.T, dtype=np.float32)[patient]


def resampled(
    judges: list[list[Callable[[np.ndarray], np.ndarray]]],
    patients: np.ndarray,
    count: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Judge every arm and seed on the test images as they are, and on the same resamples of them.

    Parameters
    ----------
    judges : by arm and seed, what turns weights (n, b) of the images into values (rows, b)
    patients : (n,) patient of each image
    count : resamples

    Returns
    -------
    point : float64 (arms, seeds, rows), every image once
    drawn : float64 (arms, rows, count), of each resample the mean over seeds
    """
    once = np.ones((len(patients), 1), dtype=np.float32)
    point = np.array([[judge(once)[:, 0] for judge in seeds] for seeds in judges])
    drawn = np.zeros((len(judges), point.shape[2], count))
    blocks, start = resamples(patients, count, rng), 0
    for weights in progress(blocks, "resampling", -(-count // BLOCK), unit="block"):
        stop = start + weights.shape[1]
        for arm, seeds in enumerate(judges):
            for judge in seeds:
                drawn[arm, :, start:stop] += judge(weights)
        start = stop
    return point, drawn / point.shape[1]


def interval(values: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return the percentile interval over the last axis.

    Its ends are the k-th smallest and the k-th largest of B values, k the whole part of
    (B + 1) (1 - level) / 2 (Davison and Hinkley 1997, section 5.2.1): it excludes 0 exactly where
    `p_value` is at most 1 - level. NaN marks resamples that left the value undefined; the interval
    is of the others, and NaN itself where none is left.
    """
    ranked = np.sort(values, axis=-1)  # NaN last
    count = (~np.isnan(values)).sum(axis=-1, keepdims=True)
    k = np.maximum(np.floor((count + 1) * (1 - level) / 2 + 1e-9).astype(int), 1)
    low = np.take_along_axis(ranked, k - 1, axis=-1)
    high = np.take_along_axis(ranked, np.maximum(count - k, 0), axis=-1)
    return low[..., 0][()], high[..., 0][()]


def p_value(differences: np.ndarray) -> np.ndarray:
    """Return the two-sided p-value of "no difference" over the last axis.

    Twice the share of resamples on the far side of 0, 0 included, with one added above and below
    so that no p-value is 0: 2 (1 + c) / (B + 1), at most 1. NaN values are left out as in
    `interval`.
    """
    count = (~np.isnan(differences)).sum(axis=-1)
    far = np.minimum((differences <= 0).sum(axis=-1), (differences >= 0).sum(axis=-1))
    return np.where(count > 0, np.minimum(2 * (1 + far) / (count + 1), 1), np.nan)


def detectable(differences: np.ndarray) -> np.ndarray:
    """Return the smallest true difference that this test set shows with 80 % power.

    (1.96 + 0.84) standard errors, the standard deviation over resamples of the paired difference:
    what a two-sided test at 5 % finds in four of five test sets like this one, the trained
    classifiers given.
    """
    return POWERED * np.nanstd(differences, axis=-1, ddof=1)
