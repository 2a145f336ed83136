"""What readers score together, with intervals that do not take their answers as independent.

Several readers saw the same images, and each has ways of their own. What stands for all of them
is the mean of their scores, with an interval from resampling images and readers at once (the
pigeonhole bootstrap: Owen, Annals of Applied Statistics 2007), which is on the wide side. With two
or three readers it says little of readers at large: no interval could.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from workflow_scripts.common.seeds import generator
from workflow_scripts.metrics.estimates import Estimate
from workflow_scripts.readers.agreement import alpha
from workflow_scripts.readers.detection import d_prime

RESAMPLES = 2000


@dataclass(frozen=True)
class Resamples:
    """How often each resample holds each image, float64 (RESAMPLES, images), and each reader."""

    images: np.ndarray
    readers: np.ndarray


def resamples(strata: np.ndarray, readers: int, seed: int) -> Resamples:
    """Draw images with replacement within each stratum, and readers.

    Parameters
    ----------
    strata : (images,), equal for images that are exchangeable: as many of each as the study has
    readers : how many there are
    """
    rng = generator(seed, "readers", "resamples")
    images = np.empty((RESAMPLES, len(strata)))
    for value in np.unique(strata):
        here = np.flatnonzero(strata == value)
        images[:, here] = rng.multinomial(len(here), np.full(len(here), 1 / len(here)), RESAMPLES)
    return Resamples(images, rng.multinomial(readers, np.full(readers, 1 / readers), RESAMPLES))


def mean_share(right: np.ndarray, draws: Resamples) -> Estimate:
    """Return the mean of readers' shares of right answers.

    The interval is Clopper & Pearson's at the number of independent answers that would vary as
    the resamples do, p(1 − p) / variance (Korn & Graubard, Survey Methodology 1998): at most all
    answers, and as many as there are images where every answer is right, or none.

    Parameters
    ----------
    right : float (readers, images), 1 right, 0 wrong, NaN no answer
    """
    given = ~np.isnan(right)
    value = float(np.nanmean(shares(np.nan_to_num(right), given, np.ones((1, right.shape[1])))))
    drawn = shares(np.nan_to_num(right), given, draws.images)
    variance = over_readers(drawn, draws.readers)
    if variance > 0:
        n = min(value * (1 - value) / variance, given.sum())
    else:
        n = given.any(axis=0).sum()
    k = value * n
    low = beta.ppf(0.025, k, n - k + 1) if value > 0 else 0.0
    high = beta.ppf(0.975, k + 1, n - k) if value < 1 else 1.0
    return Estimate(value, float(low), float(high))


def mean_d_prime(source: np.ndarray, synthetic: np.ndarray, draws: Resamples) -> Estimate:
    """Return the mean of readers' d′: that of their answers thrown together would be too small.

    The variance is that of the resamples, but no less than readers would have who answer
    independently: readers who are always right vary in no resample.

    Parameters
    ----------
    source : float (readers, images), 1 said to be synthetic, 0 real, NaN no answer
    synthetic : bool (images,), the truth
    """

    def of_readers(weights):
        counts = []
        for kind in (synthetic, ~synthetic):
            counts += [
                weights @ ((source == 1) & kind).T.astype(float),
                weights @ (~np.isnan(source) & kind).T.astype(float),
            ]
        scored = (counts[1] > 0) & (counts[3] > 0)  # (resamples, readers)
        return [np.where(scored, part, np.nan) for part in d_prime(*counts)]

    value, variance = of_readers(np.ones((1, len(synthetic))))
    drawn, _ = of_readers(draws.images)
    readers = np.isfinite(value).sum()
    least = np.nanmean(variance) / readers
    return Estimate.normal(np.nanmean(value), max(over_readers(drawn, draws.readers), least))


def agreement(answers: np.ndarray, draws: Resamples) -> Estimate:
    """Return Krippendorff's α of these readers, with a percentile interval over images alone.

    Where all resamples agree, as with readers who never differ, there is no interval.
    """
    drawn = alpha(answers, draws.images)
    drawn = drawn[np.isfinite(drawn)]
    value = float(alpha(answers)[0])
    if len(drawn) == 0 or np.ptp(drawn) < 1e-12:
        return Estimate(value)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def shares(right: np.ndarray, given: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return each reader's share of right answers in each resample: (resamples, readers)."""
    total = weights @ given.T.astype(float)
    return np.divide(weights @ right.T, total, out=np.full(total.shape, np.nan), where=total > 0)


def over_readers(drawn: np.ndarray, weights: np.ndarray) -> float:
    """Return the variance of the readers' mean over resamples; readers without a score count not."""
    weights = weights * np.isfinite(drawn)
    total = weights.sum(axis=1)
    means = (weights * np.nan_to_num(drawn)).sum(axis=1)[total > 0] / total[total > 0]
    return float(np.var(means, ddof=1)) if len(means) > 1 else 0.0
