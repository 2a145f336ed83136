"""Kernel distances between two sets of features, (n, d) and (m, d), in float64."""

from collections.abc import Callable
from functools import partial

import numpy as np

from workflow_scripts.metrics.estimates import Estimate, as_features, blocks, group_codes

MEDIAN_OF = 2000  # images whose distances give the median, all of them where there are fewer
Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of rows (n, d) and (m, d): (n, m)


def polynomial_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return (x·y / d + 1)³ for every pair of rows."""
    base = x @ y.T / x.shape[1] + 1
    return base * base * base  # many times faster than a power


def gaussian_kernel(x: np.ndarray, y: np.ndarray, bandwidth: float) -> np.ndarray:
    """Return exp(−|x − y|² / (2 σ²)) for every pair of rows, σ the bandwidth."""
    return np.exp(squared_distances(x, y) / (-2 * bandwidth**2))


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return |x − y|² for every pair of rows as |x|² + |y|² − 2 x·y, one matrix product.

    Exact to about 1e-16 (|x|² + |y|²): features should be centred.
    """
    square = np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1) - 2 * x @ y.T
    return square.clip(min=0)


def median_distance(x: np.ndarray) -> float:
    """Return the median Euclidean distance of two different rows (Gretton et al. 2012, section 8).

    Of at most MEDIAN_OF rows, evenly spaced. Rows that are equal do not count; 1 where all are.
    """
    x = x[np.linspace(0, len(x) - 1, min(len(x), MEDIAN_OF)).astype(np.int64)]
    x = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    square = squared_distances(x, x)[np.triu_indices(len(x), k=1)]
    apart = square[square > 1e-12 * np.square(x).sum(axis=1).max()]
    return float(np.median(np.sqrt(apart))) if len(apart) else 1.0


def gaussian_kernel_distance(
    x: np.ndarray, y: np.ndarray, bandwidth: float, *labels: np.ndarray | None
) -> Estimate:
    """Return the unbiased squared maximum mean discrepancy with `gaussian_kernel`.

    The distance of CMMD (Jayasumana et al. 2024), there of CLIP's features and with σ = 10. All
    that is to be compared needs one bandwidth, such as `median_distance` of the reference.

    Parameters
    ----------
    labels : groups and classes, as `kernel_distance` takes them, and all else as there
    """
    centre = np.mean(y, axis=0, dtype=np.float64)
    kernel = partial(gaussian_kernel, bandwidth=bandwidth)
    return kernel_distance(x - centre, y - centre, *labels, kernel=kernel)


def kernel_distance(
    x: np.ndarray,
    y: np.ndarray,
    groups_x: np.ndarray | None = None,
    groups_y: np.ndarray | None = None,
    classes_x: np.ndarray | None = None,
    classes_y: np.ndarray | None = None,
    kernel: Kernel = polynomial_kernel,
) -> Estimate:
    """Return the unbiased squared maximum mean discrepancy, by default with (x·y / d + 1)³.

    With that kernel and Inception's features this is the kernel inception distance (Bińkowski et
    al. 2018), here as the full U-statistic over all pairs: no random subsets. It may be negative:
    it is unbiased, and 0 on average for two samples of one distribution.

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
    kernel : of every pair of rows

    Raises
    ------
    ValueError
        If a set, or a class of one, has fewer than two images.
    """
    x, y = as_features(x), as_features(y)
    across_x, across_y = kernel_across(x, y, kernel)
    mean_x, variance_x = kernel_side(x, groups_x, classes_x, across_x / len(y), kernel)
    mean_y, variance_y = kernel_side(y, groups_y, classes_y, across_y / len(x), kernel)
    value = mean_x + mean_y - 2 * across_x.sum() / (len(x) * len(y))
    return Estimate.normal(value, variance_x + variance_y)


def kernel_side(
    x: np.ndarray,
    groups: np.ndarray | None,
    classes: np.ndarray | None,
    across: np.ndarray,
    kernel: Kernel,
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
    alike, unlike, inner = kernel_within(x, stratum, cell, kernel)
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
    x: np.ndarray, stratum: np.ndarray, cell: np.ndarray, kernel: Kernel
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each row's Σ k to other rows of its stratum, to other strata, and within its cell."""
    alike, unlike, inner = np.empty((3, len(x)))
    for block in blocks(len(x)):
        k = kernel(x[block], x)
        k[np.arange(len(k)), np.arange(block.start, block.stop)] = 0
        alike[block] = np.where(stratum[block, None] == stratum, k, 0).sum(axis=1)
        unlike[block] = np.where(stratum[block, None] == stratum, 0, k).sum(axis=1)
        inner[block] = np.where(cell[block, None] == cell, k, 0).sum(axis=1)
    return alike, unlike, inner


def kernel_across(x: np.ndarray, y: np.ndarray, kernel: Kernel) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of k(x, y) over y for each x, and over x for each y."""
    rows, columns = np.empty(len(x)), np.zeros(len(y))
    for block in blocks(len(x)):
        k = kernel(x[block], y)
        rows[block] = k.sum(axis=1)
        columns += k.sum(axis=0)
    return rows, columns
