"""Distances between two sets of features.

Features are (n, d) and (m, d), one row per image; everything is computed in float64.
"""

from dataclasses import dataclass

import numpy as np

NORMAL_975 = 1.959963984540054  # 97.5 % quantile of the standard normal distribution


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval; the ends are NaN where there is none."""

    value: float
    low: float = np.nan
    high: float = np.nan

    @classmethod
    def normal(cls, value: float, variance: float) -> "Estimate":
        """Return the interval of an estimate that is about normal."""
        half = NORMAL_975 * np.sqrt(variance)
        return cls(float(value), float(value - half), float(value + half))


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Return the squared Fréchet distance between normal distributions fitted to both sets.

    |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½), Dowson & Landau (1982), as in Heusel et al. (2017);
    covariances with n − 1. With Σ₁ = AᵀA and Σ₂ = BᵀB the eigenvalues of Σ₁Σ₂ are the squared
    singular values of ABᵀ, so that the last trace is twice their sum. No matrix root is taken and
    nothing is added to a diagonal: fewer images than features are no special case.

    The value is biased upwards by few images: compare only at equal n.

    Raises
    ------
    ValueError
        If a set has fewer than two images.
    """
    x, y = as_features(x), as_features(y)
    roots = [covariance_root(x), covariance_root(y)]
    shift = x.mean(axis=0) - y.mean(axis=0)
    total = sum(np.square(root).sum() for root in roots)
    shared = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    return max(0.0, float(shift @ shift + total - 2 * shared))


def covariance_root(x: np.ndarray) -> np.ndarray:
    """Return A with AᵀA the covariance of `x`, of min(n, d) rows."""
    centred = (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)
    return np.linalg.qr(centred, mode="r") if len(x) > x.shape[1] else centred


def kernel_distance(
    x: np.ndarray,
    y: np.ndarray,
    groups_x: np.ndarray | None = None,
    groups_y: np.ndarray | None = None,
    classes_x: np.ndarray | None = None,
    classes_y: np.ndarray | None = None,
) -> Estimate:
    """Return the unbiased squared maximum mean discrepancy with the kernel (x·y / d + 1)³.

    With Inception's features this is the kernel inception distance (Bińkowski et al. 2018), here
    as the full U-statistic over all pairs: no random subsets. It may be negative: it is unbiased,
    and 0 for two samples of one distribution.

    Sets that hold fixed numbers of each class, n_k of n images, are no independent draws: fewer
    pairs within a set than across sets are of one class. So the mean over a set's pairs is taken
    class by class, pairs of one class weighted by n_k / (n_k − 1), and divided by n².

    The interval is a delete-one jackknife over groups (Efron & Stein 1981), both sets'
    contributions added: images of one patient are not independent. A group is left out of one
    class at a time, whose share of the set stays as it is.

    Parameters
    ----------
    x, y : features
    groups_x, groups_y : what to leave out together, one label per image; None: each image alone
    classes_x, classes_y : the class of each image, where the sets hold fixed numbers of each; None:
        a set is one random sample

    Raises
    ------
    ValueError
        If a set, or a class of one, has fewer than two images.
    """
    x, y = as_features(x), as_features(y)
    across_x, across_y = kernel_across(x, y)
    mean_x, variance_x = kernel_side(x, groups_x, classes_x, across_x / len(y))
    mean_y, variance_y = kernel_side(y, groups_y, classes_y, across_y / len(x))
    value = mean_x + mean_y - 2 * across_x.sum() / (len(x) * len(y))
    return Estimate.normal(value, variance_x + variance_y)


def kernel_side(
    x: np.ndarray, groups: np.ndarray | None, classes: np.ndarray | None, across: np.ndarray
) -> tuple[float, float]:
    """Return the mean kernel of two images of one set, and its part of the distance's variance.

    Parameters
    ----------
    across : of each image, the mean kernel with the other set's
    """
    n = len(x)
    group = group_codes(groups, n)
    stratum = group_codes(np.zeros(n) if classes is None else classes, n)
    count = np.bincount(stratum)
    if count.min() < 2:
        raise ValueError("a distance needs two images or more of each class in each set, got one")
    # What is left out at a time: a group's images of one class.
    cell = group_codes(stratum * n + group, n)
    size, first = np.bincount(cell), np.unique(cell, return_index=True)[1]
    own, owner = stratum[first], group[first]  # of each cell
    alike, unlike, inner = kernel_within(x, stratum, cell)
    same, other, crossing = (np.bincount(stratum, sums) for sums in (alike, unlike, across))
    mean = (other.sum() + (same * count / (count - 1)).sum()) / n**2
    left = count[own] - size
    cells = np.bincount(own)
    if cells.min() < 2 or left.min() < 2:
        return mean, np.nan
    # By how much the distance changes without a cell, the class's other images weighing the more.
    heavier = count[own] / left
    same_left = same[own] - 2 * np.bincount(cell, alike) + np.bincount(cell, inner)
    change = heavier * count[own] / (left - 1) * same_left - (same * count / (count - 1))[own]
    change += 2 * (heavier * (other[own] - np.bincount(cell, unlike)) - other[own])
    change -= 2 * n * (heavier * (crossing[own] - np.bincount(cell, across)) - crossing[own])
    change /= n**2
    deviation = change - (np.bincount(own, change) / cells)[own]
    deviation *= np.sqrt((cells - 1) / cells)[own]
    return mean, np.square(np.bincount(owner, deviation)).sum()


def kernel_within(
    x: np.ndarray, stratum: np.ndarray, cell: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each row's Σ k to other rows of its stratum, to other strata, and within its cell."""
    alike, unlike, inner = np.empty((3, len(x)))
    for block in blocks(len(x)):
        kernel = polynomial_kernel(x[block], x)
        kernel[np.arange(len(kernel)), np.arange(block.start, block.stop)] = 0
        alike[block] = np.where(stratum[block, None] == stratum, kernel, 0).sum(axis=1)
        unlike[block] = np.where(stratum[block, None] == stratum, 0, kernel).sum(axis=1)
        inner[block] = np.where(cell[block, None] == cell, kernel, 0).sum(axis=1)
    return alike, unlike, inner


def kernel_across(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of k(x, y) over y for each x, and over x for each y."""
    rows, columns = np.empty(len(x)), np.zeros(len(y))
    for block in blocks(len(x)):
        kernel = polynomial_kernel(x[block], y)
        rows[block] = kernel.sum(axis=1)
        columns += kernel.sum(axis=0)
    return rows, columns


def polynomial_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return (x·y / d + 1)³ for every pair of rows."""
    base = x @ y.T / x.shape[1] + 1
    return base * base * base  # many times faster than a power


def blocks(count: int, size: int = 2048) -> list[slice]:
    """Cut `count` rows into slices that bound the memory of a kernel matrix."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def group_codes(groups: np.ndarray | None, count: int) -> np.ndarray:
    """Number the groups from 0 without gaps."""
    if groups is None:
        return np.arange(count)
    return np.unique(np.asarray(groups), return_inverse=True)[1]


def as_features(x: np.ndarray) -> np.ndarray:
    """Return float64 (n, d) or say why not."""
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"a distance needs two images or more in each set, got shape {x.shape}")
    return x
