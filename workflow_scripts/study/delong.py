"""DeLong's interval of a difference of AUROCs, as a check of the bootstrap's.

DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44:837. It takes images as independent of each
other: where patients have one image each it should agree with the bootstrap by patient, where they
have several it is too narrow.
"""

import numpy as np
from scipy.stats import norm

from workflow_scripts.metrics.recognition import components


def difference_interval(
    arm: np.ndarray, reference: np.ndarray, positive: np.ndarray
) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two arms' AUROCs, each the mean over seeds.

    This is the difference that the bootstrap resamples. A mean of AUROCs has the mean of their
    components as its components, so the variance below is DeLong's L S L' for the contrast +1 over
    the seeds of the arm and -1 over those of the reference: covariances between seeds and between
    arms are in it.

    Parameters
    ----------
    arm, reference : float (seeds, n), scores of one class
    positive : bool (n,), images of the class

    Returns
    -------
    low, high : NaN where there are fewer than two positives or negatives
    """
    if min(positive.sum(), (~positive).sum()) < 2:
        return np.nan, np.nan
    v10, v01 = (
        np.mean(ours, axis=0) - np.mean(theirs, axis=0)
        for ours, theirs in zip(
            zip(*(components(scores, positive) for scores in arm), strict=True),
            zip(*(components(scores, positive) for scores in reference), strict=True),
            strict=True,
        )
    )
    half = norm.ppf(0.975) * np.sqrt(v10.var(ddof=1) / len(v10) + v01.var(ddof=1) / len(v01))
    return float(v10.mean() - half), float(v10.mean() + half)
