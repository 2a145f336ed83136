"""Scores of a classifier's probabilities alone."""

import numpy as np
from scipy.special import rel_entr


def class_score(p: np.ndarray) -> float:
    """Return exp(mean over images of KL(p(y|x) ‖ p(y))), Salimans et al. (2016).

    With Inception's thousand classes this is the Inception Score, here of all images at once: the
    paper's means over ten parts are of other numbers of images. 1 where the classifier says the
    same of every image, K where it is sure of each and sees all K classes equally often. Biased
    downwards by few images: compare only at equal n.

    Parameters
    ----------
    p : class probabilities, (n, K), rows with sum 1

    Raises
    ------
    ValueError
        If these are no probabilities.
    """
    p = np.asarray(p, dtype=np.float64)
    total = p.sum(axis=1, keepdims=True)
    if not (len(p) and (p >= 0).all() and np.allclose(total, 1, atol=1e-3)):
        raise ValueError("a class score needs probabilities: numbers from 0 whose sum is 1")
    p = p / total
    return float(np.exp(rel_entr(p, p.mean(axis=0)).sum(axis=1).mean()))
