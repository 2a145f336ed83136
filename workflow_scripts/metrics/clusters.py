"""Means over images whose patients are resampled: images of one patient count as one draw."""

from collections.abc import Iterator

import numpy as np

from workflow_scripts.common.seeds import generator
from workflow_scripts.metrics.estimates import Estimate

BLOCK = 64  # resamples held at a time: 2 MB of weights at 7,000 images, which a cache holds


def resamples(patients: np.ndarray, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield bootstrap resamples of patients as weights of their images, in blocks.

    Each resample draws as many patients as there are, with replacement; an image counts as often
    as its patient was drawn. Used for everything that is compared, the resamples are paired.

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

    Its ends are the k-th smallest and the k-th largest of B values, k the whole part of
    (B + 1) (1 - level) / 2 (Davison and Hinkley 1997, section 5.2.1): it excludes 0 exactly where
    the bootstrap's p-value is at most 1 - level. NaN marks resamples that left the value undefined;
    the interval is of the others, and NaN itself where none is left.
    """
    ranked = np.sort(values, axis=-1)  # NaN last
    count = (~np.isnan(values)).sum(axis=-1, keepdims=True)
    k = np.maximum(np.floor((count + 1) * (1 - level) / 2 + 1e-9).astype(int), 1)
    low = np.take_along_axis(ranked, k - 1, axis=-1)
    high = np.take_along_axis(ranked, np.maximum(count - k, 0), axis=-1)
    return low[..., 0][()], high[..., 0][()]


def cluster_means(
    values: np.ndarray, patients: np.ndarray, count: int, seed: int
) -> list[Estimate]:
    """Return the mean over images of each of several values, with its 95 % percentile interval.

    All columns meet the same resamples, so that those of the same images are paired: the mean of the
    differences of two methods is the difference of their means, with an interval of its own.

    Parameters
    ----------
    values : (n, m), of n images
    patients : (n,) patient of each image
    count : resamples of the patients; with few patients (below about twenty) percentile intervals
        are too narrow
    seed : decides the resamples

    Returns
    -------
    m estimates; without an interval where all images are of one patient

    Raises
    ------
    ValueError
        If there are no images, or a value is not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or not len(values) or not np.isfinite(values).all():
        raise ValueError("means need values of one image or more, (n, m), finite numbers all")
    ones = np.ones((len(values), 1))
    return cluster_ratios(values, ones, patients, count, seed)


def cluster_ratios(
    numerators: np.ndarray, denominators: np.ndarray, patients: np.ndarray, count: int, seed: int
) -> list[Estimate]:
    """Return ratios of sums over images, with their 95 % percentile intervals.

    Parameters
    ----------
    numerators : (n, m), finite
    denominators : (n, m) or (n, 1), finite and not negative
    patients, count, seed : as of `cluster_means`

    Returns
    -------
    m estimates; without an interval where all images are of one patient
    """
    point = numerators.sum(axis=0) / denominators.sum(axis=0)
    if len(np.unique(patients)) < 2:
        return [Estimate(float(value)) for value in point]
    drawn = []
    for block in resamples(patients, count, generator(seed, "patients")):
        weights = block.astype(np.float64)
        with np.errstate(invalid="ignore"):
            drawn.append((numerators.T @ weights) / (denominators.T @ weights))
    low, high = interval(np.hstack(drawn))
    return [Estimate(*map(float, ends)) for ends in zip(point, low, high, strict=True)]
