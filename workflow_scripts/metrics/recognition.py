"""How well the classes of images are recognised: AUROC of each against the rest, and recall.

Sources: DeLong, DeLong & Clarke-Pearson (1988), by midranks as in Sun & Xu (2014); intervals of
proportions from samples of clusters, Korn & Graubard (1998).
"""

import numpy as np
from scipy.stats import rankdata

from workflow_scripts.metrics.estimates import Estimate, effective_proportion, group_codes


def components(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the structural components of an AUROC.

    Parameters
    ----------
    scores : (n,), higher for the positive class
    positive : bool (n,), with images of both kinds

    Returns
    -------
    of each positive, the share of negatives below it, a tie counting one half; of each negative,
    the share of positives above it. The mean of either is the AUROC.
    """
    ranks = rankdata(scores)
    above, below = scores[positive], scores[~positive]
    v10 = (ranks[positive] - rankdata(above)) / len(below)
    v01 = 1 - (ranks[~positive] - rankdata(below)) / len(above)
    return v10, v01


def auroc(probabilities: np.ndarray, class_ids: np.ndarray) -> tuple[list[Estimate], Estimate]:
    """Return the AUROC of each class against the rest, and their mean, with DeLong's intervals.

    With A_c = Σ_i V10_c(i) / n_c over the n_c images of class c, each image i has a part
    (V10_c(i) − A_c) / n_c in the error of its own class's A, and (V01_k(i) − A_k) / (n − n_k) in
    that of every other. The variance of A_c is the sum of the squares of these parts, each kind of
    image with n_c / (n_c − 1) of its own; that of the mean takes each image's mean part, so that
    all covariances between classes are in it. Intervals end at 0 and 1. Where every pair is ranked
    rightly there is no variance, and so no interval.

    Parameters
    ----------
    probabilities : (n, K), column c higher for class c
    class_ids : int (n,) in [0, K)

    Returns
    -------
    K estimates, NaN where a class or its rest has no image, and the mean over the others
    """
    n, classes = probabilities.shape
    values, parts = np.full(classes, np.nan), np.full((n, classes), np.nan)
    for c in range(classes):
        positive = class_ids == c
        if not 0 < positive.sum() < n:
            continue
        v10, v01 = components(probabilities[:, c], positive)
        values[c] = v10.mean()
        for mine, v in ((positive, v10), (~positive, v01)):
            parts[mine, c] = (v - values[c]) / np.sqrt(len(v) * max(len(v) - 1, 0) or np.nan)
    known = ~np.isnan(values)
    if not known.any():
        return [Estimate(np.nan)] * classes, Estimate(np.nan)
    each = [interval(values[c], np.square(parts[:, c]).sum()) for c in range(classes)]
    mean = parts[:, known].mean(axis=1)
    return each, interval(values[known].mean(), np.square(mean).sum())


def interval(value: float, variance: float) -> Estimate:
    """Return a normal interval between 0 and 1; none without a variance."""
    if not variance > 0:
        return Estimate(float(value))
    return Estimate.normal(value, variance).within(0.0, 1.0)


def balanced_accuracy(right: np.ndarray, class_ids: np.ndarray, owners: np.ndarray) -> Estimate:
    """Return the mean over classes of the share of a class's images that are seen as it.

    The interval is Korn & Graubard's: that of Clopper & Pearson at the effective number
    p (1 − p) / v, v the variance of p with all images of one patient as one draw (linearised). It
    is no larger than 1 / Σ W², W the patients' weights, which is their number where each has one
    image and the classes are of one size: where by luck all of a class are right, v knows nothing.

    Parameters
    ----------
    right : bool (n,), whether an image is seen as its class
    class_ids : int (n,); classes without an image take no part
    owners : whose each image is, labels (n,)
    """
    own, code = np.unique(class_ids, return_inverse=True)
    size = np.bincount(code)
    weight = 1 / (len(own) * size[code])
    recall = np.bincount(code, right) / size
    p = float(recall.mean())
    patient = group_codes(owners, len(right))
    patients = patient.max() + 1
    deviation = np.bincount(patient, weight * (right - recall[code]))
    v = patients / max(patients - 1, 1) * np.square(deviation).sum()
    effective = 1 / np.square(np.bincount(patient, weight)).sum()
    if v > 0:
        effective = min(effective, p * (1 - p) / v)
    return effective_proportion(p, effective)
