"""Agreement between readers."""

import numpy as np


def alpha(answers: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return Krippendorff's α for nominal answers, 1 − D_o / D_e.

    Of m answers on an image, D_o counts the pairs that differ, each image weighing m; D_e counts
    those of all answers thrown together. 1: no two readers ever differ; 0: as if by chance. Unlike
    Fleiss' κ, which it nears with many images, it needs no answer of every reader on every image.
    (Krippendorff, Content Analysis, 2004, chapter 11; Hayes & Krippendorff 2007.)

    Parameters
    ----------
    answers : float (readers, images), equal numbers for equal answers, NaN for none
    weights : float (resamples, images), how often each resample holds each image; None: once

    Returns
    -------
    float64 (resamples,), NaN where all answers are the same or no image has two
    """
    counts = np.stack(
        [(answers == value).sum(axis=0) for value in np.unique(answers[~np.isnan(answers)])], axis=1
    ).astype(float)  # (images, values)
    m = counts.sum(axis=1)
    counts, m = counts * (m > 1)[:, None], m * (m > 1)  # a lone answer agrees with none
    weights = np.ones((1, len(m))) if weights is None else weights
    same = (counts * (counts - 1)).sum(axis=1) / np.maximum(m - 1, 1)
    n, of_value = weights @ m, weights @ counts
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = 1 - (weights @ same) / n
        expected = 1 - (of_value * (of_value - 1)).sum(axis=1) / (n * (n - 1))
        return np.where(expected > 0, 1 - observed / expected, np.nan)
