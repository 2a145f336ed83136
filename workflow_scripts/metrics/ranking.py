"""How well scores put one class above the rest, under many weightings of the images at once.

A bootstrap resample only changes how often each image counts. Whatever does not depend on that,
above all the order of the scores, is worked out once per set of scores; what is left per resample is
a sparse sum of weights, each image in one place.
"""

import numpy as np
from scipy.sparse import csr_array


class Ranking:
    """How well scores put one class above the rest, under any weighting of the images.

    AUROC is the weighted share of pairs (positive, negative) that the scores rank rightly, a tie
    counting one half (Mann and Whitney 1947). AUPRC, as average precision, is the sum over thresholds of
    precision times the recall gained there, without interpolation; ties share one threshold.

    Parameters
    ----------
    scores : float (n,), finite, higher for the positive class
    positive : bool (n,)
    within : bool (n,), the images that count at all; by default every one
    """

    def __init__(
        self, scores: np.ndarray, positive: np.ndarray, within: np.ndarray | None = None
    ) -> None:
        order = np.argsort(-scores, kind="stable")
        if within is not None:
            order = order[within[order]]
        ranked, hit = scores[order], positive[order]
        # Positives of one score form a group. The negatives above group g are those in rows 0 to g;
        # those level with it count one half, and so are summed once more.
        step = np.cumsum(np.r_[False, ranked[1:] != ranked[:-1]])
        held = np.bincount(step[hit], minlength=len(ranked)) > 0
        group = np.cumsum(held)[step]  # from 1; of a negative, the last one at or above it
        self.groups = int(held.sum())
        level = ~hit & held[step]
        self.tied, tie = np.unique(group[level] - 1, return_inverse=True)
        row = np.where(hit, self.groups + group, group)
        row = np.r_[row, 2 * self.groups + 1 + tie]
        column = np.r_[order, order[level]]
        self.sums = csr_array(
            (np.ones(len(row), dtype=np.float32), (row, column)),
            shape=(2 * self.groups + 1 + len(self.tied), len(scores)),
        )

    def __call__(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return AUROC and AUPRC under each weighting.

        Parameters
        ----------
        weights : (n, b), how often each image counts in each of b weightings; whole numbers, whose
            sums float32 holds exactly below 2**24 images

        Returns
        -------
        two float64 (b,) in [0, 1]; NaN where a weighting leaves no positive or no negative
        """
        gained, below, level = self.weigh(weights)
        auroc = self.area(gained, below, level)
        below[self.tied] += level
        hits = np.cumsum(gained, axis=0)
        called = hits + below[:-1]
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.divide(hits, np.maximum(called, 1), dtype=np.float64)
            average = np.einsum("gb,gb->b", gained, precision) / gained.sum(axis=0)
        return auroc, np.where(np.isnan(auroc), np.nan, average)

    def auroc(self, weights: np.ndarray) -> np.ndarray:
        """Return AUROC alone, as `__call__` does."""
        return self.area(*self.weigh(weights))

    def weigh(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return sums of weights: float32, exact, each with a column per weighting.

        Returns
        -------
        gained : (groups, b), positives of each group
        below : (groups + 1, b), negatives scored above each; in the last row all of them
        level : (tied groups, b), negatives level with each of `tied`
        """
        sums = self.sums @ np.asarray(weights, dtype=np.float32)
        below, gained, level = np.split(sums, [self.groups + 1, 2 * self.groups + 1])
        return gained, np.cumsum(below, axis=0), level

    def area(self, gained: np.ndarray, below: np.ndarray, level: np.ndarray) -> np.ndarray:
        """Return the AUROC of what `weigh` returns: float64 (b,)."""
        wrong = (gained * below[:-1]).sum(axis=0, dtype=np.float64)
        wrong += (gained[self.tied] * level).sum(axis=0, dtype=np.float64) / 2
        pairs = gained.sum(axis=0).astype(np.float64) * below[-1]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(pairs > 0, 1 - wrong / pairs, np.nan)
