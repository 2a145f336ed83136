"""How well predictions separate the classes, under many weightings of the images at once.

A bootstrap resample only changes how often each image counts. Sorting the scores once therefore
serves every resample: what is left per resample is a cumulative sum of weights in that order.
"""

import numpy as np

from workflow_scripts.common.schemas import MACRO


def ranking(
    scores: np.ndarray, positive: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return AUROC and average precision of `scores` under each weighting.

    AUROC is the weighted share of pairs (positive, negative) that the scores rank rightly, a tie
    counting one half (Mann and Whitney 1947). Average precision is the sum over thresholds of
    precision times the recall gained there, without interpolation; ties share one threshold.

    Parameters
    ----------
    scores : float (n,), finite, higher for the positive class
    positive : bool (n,)
    weights : (n, b), how often each image counts in each of b weightings; whole numbers, whose
        sums float32 holds exactly below 2**24 images

    Returns
    -------
    two float64 (b,) in [0, 1]; NaN where a weighting leaves no positive or no negative
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hit = scores[order], positive[order]
    # Ties form one group; only groups that hold a positive add to either measure.
    first = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    held = np.add.reduceat(hit.astype(np.int64), first) > 0
    start, end = first[held], np.r_[first[1:], len(hit)][held]

    weights = np.asarray(weights, dtype=np.float32)[order]
    everything, hits = running_sum(weights), running_sum(weights[hit])
    rank = np.r_[0, np.cumsum(hit)]  # positives among the first 0, 1, … n rows
    before, after = hits[rank[start]], hits[rank[end]]
    positives, negatives = hits[-1], everything[-1] - hits[-1]

    gained = (after - before).astype(np.float64)
    below, upto = everything[start] - before, everything[end] - after
    with np.errstate(invalid="ignore", divide="ignore"):
        wrong = np.einsum("ib,ib->b", gained, (below + upto) / 2)
        auroc = 1 - wrong / (positives.astype(np.float64) * negatives)
        precision = np.where(gained > 0, np.divide(after, everything[end], dtype=np.float64), 0)
        average = np.einsum("ib,ib->b", gained, precision) / positives
    defined = (positives > 0) & (negatives > 0)
    return np.where(defined, auroc, np.nan), np.where(defined, average, np.nan)


def running_sum(weights: np.ndarray) -> np.ndarray:
    """Return sums of the first 0, 1, … n rows: (n + 1, b)."""
    sums = np.zeros((len(weights) + 1, weights.shape[1]), dtype=weights.dtype)
    np.cumsum(weights, axis=0, out=sums[1:])
    return sums


def balanced_accuracy(
    probabilities: np.ndarray, class_ids: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return the mean over classes of the share of a class's images given to that class.

    Parameters
    ----------
    probabilities : float (n, K); an image is given to its most probable class
    class_ids : int (n,) in [0, K)
    weights : (n, b) as in `ranking`

    Returns
    -------
    float64 (b,) in [0, 1]; NaN where a weighting leaves a class without images
    """
    member = (class_ids[:, None] == np.arange(probabilities.shape[1])).astype(np.float32)
    right = member * (probabilities.argmax(axis=1) == class_ids)[:, None]
    weights = np.asarray(weights, dtype=np.float32)
    with np.errstate(invalid="ignore"):
        recall = (right.T @ weights).astype(np.float64) / (member.T @ weights)
    return recall.mean(axis=0)


def names(classes: list[str]) -> list[tuple[str, str]]:
    """Return (metric, class name) of each row that `measure` returns, `MACRO` for all classes."""
    ranked = [(metric, name) for metric in ("auroc", "auprc") for name in [*classes, MACRO]]
    return [*ranked, ("balanced_accuracy", MACRO)]


def measure(probabilities: np.ndarray, class_ids: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return every measure under each weighting, in the order of `names`.

    One class against the rest, and their unweighted mean over classes: a rare class counts as
    much as a common one. Where one class is undefined, so is the mean.

    Parameters
    ----------
    probabilities : float (n, K)
    class_ids : int (n,) in [0, K)
    weights : (n, b) as in `ranking`

    Returns
    -------
    float64 (2 K + 3, b)
    """
    each = np.stack(
        [
            ranking(probabilities[:, number], class_ids == number, weights)
            for number in range(probabilities.shape[1])
        ]
    )  # (K, 2, b)
    auroc, average = each[:, 0], each[:, 1]
    balanced = balanced_accuracy(probabilities, class_ids, weights)
    return np.vstack([auroc, auroc.mean(axis=0), average, average.mean(axis=0), balanced])
