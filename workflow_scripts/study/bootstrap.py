"""Resampling by patient: images of one patient resemble each other and count as one draw."""

from collections.abc import Iterator

import numpy as np

BLOCK = 250  # resamples held at a time: 7 MB of weights at 7,000 images


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


def interval(values: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return the percentile interval over the last axis.

    NaN marks resamples that left the value undefined; the interval is of the others, and NaN
    itself where no resample is left.
    """
    defined = ~np.isnan(values)
    filled = np.where(defined.any(axis=-1, keepdims=True), values, 0)
    low, high = np.nanquantile(filled, [(1 - level) / 2, (1 + level) / 2], axis=-1)
    empty = ~defined.any(axis=-1)
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)
