"""Judging by resampled patients: what classifiers differ by, and whether that is anything."""

from collections.abc import Callable

import numpy as np
from scipy.stats import norm

from workflow_scripts.common.runtime import progress
from workflow_scripts.metrics.clusters import BLOCK, resamples

# Standard errors that a true difference must measure for a two-sided test at 5 % to find it with
# 80 % power: 1.96 + 0.84.
POWERED = float(norm.ppf(0.975) + norm.ppf(0.8))


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
