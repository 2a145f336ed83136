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
) -> Estimate:
    """Return the unbiased squared maximum mean discrepancy with the kernel (x·y / d + 1)³.

    With Inception's features this is the kernel inception distance (Bińkowski et al. 2018), here
    as the full U-statistic over all pairs: no random subsets. It may be negative: it is unbiased,
    and 0 for two samples of one distribution.

    The interval is a delete-one jackknife over groups (Efron & Stein 1981), both sets'
    contributions added: images of one patient are not independent.

    Parameters
    ----------
    x, y : features
    groups_x, groups_y : what to leave out together, one label per image; None: each image alone

    Raises
    ------
    ValueError
        If a set has fewer than two images.
    """
    x, y = as_features(x), as_features(y)
    n, m = len(x), len(y)
    code_x, code_y = group_codes(groups_x, n), group_codes(groups_y, m)
    pairs_x, rows_x, inner_x = kernel_within(x, code_x)
    pairs_y, rows_y, inner_y = kernel_within(y, code_y)
    cross_x, cross_y = kernel_across(x, y)
    mean_x, mean_y = pairs_x / (n * (n - 1)), pairs_y / (m * (m - 1))
    across = cross_x.sum()
    value = mean_x + mean_y - 2 * across / (n * m)

    def variance(code, pairs, rows, inner, cross, count, other_mean, other_count):
        """Jackknife variance from leaving out each group of one set."""
        size = np.bincount(code)
        left = count - size
        if len(size) < 2 or left.min() < 2:
            return np.nan
        without = pairs - 2 * np.bincount(code, rows) + np.bincount(code, inner)
        crossing = across - np.bincount(code, cross)
        values = without / (left * (left - 1)) + other_mean - 2 * crossing / (left * other_count)
        return (len(size) - 1) / len(size) * np.square(values - values.mean()).sum()

    return Estimate.normal(
        value,
        variance(code_x, pairs_x, rows_x, inner_x, cross_x, n, mean_y, m)
        + variance(code_y, pairs_y, rows_y, inner_y, cross_y, m, mean_x, n),
    )


def kernel_within(x: np.ndarray, code: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Return Σ k over pairs of different images, its row sums, and those within a row's group."""
    rows, inner = np.empty(len(x)), np.empty(len(x))
    for block in blocks(len(x)):
        kernel = polynomial_kernel(x[block], x)
        kernel[np.arange(len(kernel)), np.arange(block.start, block.stop)] = 0
        rows[block] = kernel.sum(axis=1)
        inner[block] = np.where(code[block, None] == code, kernel, 0).sum(axis=1)
    return rows.sum(), rows, inner


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
