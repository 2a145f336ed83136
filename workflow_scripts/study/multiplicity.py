"""Many comparisons at once: the more one asks, the more is found by chance."""

import numpy as np


def holm(p_values: np.ndarray) -> np.ndarray:
    """Return p-values adjusted for their number (Holm 1979, Scand J Stat 6:65).

    The smallest of m is multiplied by m, the next by m - 1, and so on; none falls below one before
    it, and none exceeds 1. Calling those at most 0.05 significant errs in at most 5 % of families,
    however the comparisons depend on each other.

    Parameters
    ----------
    p_values : (m,) in [0, 1]
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p_values[order]), 1)
    return adjusted
