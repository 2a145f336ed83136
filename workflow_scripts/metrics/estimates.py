"""A value and its interval, and what the measures share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, t

from workflow_scripts.common.seeds import generator


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval; the ends are NaN where there is none."""

    value: float
    low: float = np.nan
    high: float = np.nan

    @classmethod
    def normal(cls, value: float, variance: float, degrees: float = np.inf) -> "Estimate":
        """Return the interval of an estimate that is about normal.

        `degrees` of freedom of the variance, by Student's distribution; infinite: it is known.
        """
        half = t.ppf(0.975, degrees) * np.sqrt(variance)
        return cls(float(value), float(value - half), float(value + half))

    def within(self, low: float = -np.inf, high: float = np.inf) -> "Estimate":
        """Return it with an interval that ends where values can be no smaller or larger."""
        return Estimate(self.value, *np.clip([self.low, self.high], low, high).tolist())


def proportion(right: int, total: int) -> Estimate:
    """Return a proportion and its 95 % interval (Clopper & Pearson 1934)."""
    return effective_proportion(right / total, total)


def effective_proportion(value: float, effective: float) -> Estimate:
    """Return a proportion with Clopper & Pearson's 95 % interval at an effective number of draws.

    Which need not be whole: draws that are alike, as images of one patient are, count for fewer
    (Korn & Graubard 1998).
    """
    right = value * effective
    low = beta.ppf(0.025, right, effective - right + 1) if value > 0 else 0.0
    high = beta.ppf(0.975, right + 1, effective - right) if value < 1 else 1.0
    return Estimate(float(value), float(low), float(high))


def group_jackknife(
    statistic: Callable[[np.ndarray, np.ndarray], float], *arguments, **options
) -> Estimate:
    """Return the estimate of one value: `group_jackknives` of a statistic that gives one."""
    return group_jackknives(lambda x, y: [statistic(x, y)], *arguments, **options)[0]


def group_jackknives(
    statistic: Callable[[np.ndarray, np.ndarray], Sequence[float]], *arguments, **options
) -> list[Estimate]:
    """Return the estimates of several values: `jackknives` of a statistic of rows.

    Parameters
    ----------
    statistic : of the rows of both sets, int64 (n,) and (m,), in ascending order
    """

    def one_by_one(kept_x: np.ndarray, kept_y: np.ndarray) -> list[Sequence[float]]:
        pairs = zip(kept_x, kept_y, strict=True)
        return [statistic(np.flatnonzero(here), np.flatnonzero(there)) for here, there in pairs]

    return jackknives(one_by_one, *arguments, **options)


def jackknives(
    statistics: Callable[[np.ndarray, np.ndarray], Sequence[Sequence[float]]],
    owners_x: np.ndarray,
    owners_y: np.ndarray,
    seed: int,
    groups: int = 10,
    classes_x: np.ndarray | None = None,
    classes_y: np.ndarray | None = None,
) -> list[Estimate]:
    """Return values of two independent sets with intervals by the delete-a-group jackknife.

    Whole owners are dealt at random into G groups. With θ₍g₎ the value without group g of a set,
    and θ₍·₎ their mean, that set contributes (G − 1)/G Σ (θ₍g₎ − θ₍·₎)² to the variance (Kott 2001,
    "The delete-a-group jackknife"; Shao & Tu 1995, section 2.3). Both sets' contributions are
    added, with Satterthwaite's (1946) degrees of freedom, each set having G − 1.

    Deviations are from θ₍·₎, so that a bias by the number of images, which is the same without any
    group, does not count as variance.

    Parameters
    ----------
    statistics : of bool (s, n) and (s, m), which images of both sets are kept in each of s cases:
        the values of each case. The first case is that of whole sets.
    owners_x, owners_y : whose each image is, one label per image; images of one owner are left out
        together
    seed : decides the dealing
    groups : G
    classes_x, classes_y : the class of each image, where a set holds fixed numbers of each: every
        group then has about as many owners of each

    Returns
    -------
    one per value; without an interval where a set has fewer owners than groups, where a value
    without a group is not finite, or where no group changes it
    """
    sides = (owners_x, classes_x), (owners_y, classes_y)
    enough = min(len(np.unique(owners)) for owners, _ in sides) >= groups
    kept = [np.ones((1 + 2 * groups * enough, len(owners)), dtype=bool) for owners, _ in sides]
    if enough:
        for side, (owners, classes) in enumerate(sides):
            group = dealt(owners, groups, generator(seed, "groups", side), classes)
            first = 1 + side * groups
            kept[side][first : first + groups] = group != np.arange(groups)[:, None]
    values, *without = np.asarray(statistics(*kept), dtype=np.float64)
    if not enough:
        return [Estimate(float(value)) for value in values]
    variances = [(groups - 1) * np.var(part, axis=0) for part in np.split(np.array(without), 2)]
    estimates = []
    for value, *parts in zip(values, *variances, strict=True):
        variance, squares = sum(parts), sum(part**2 for part in parts)
        known = np.isfinite(variance) and variance > 0
        degrees = (groups - 1) * variance**2 / squares if known else np.inf
        found = Estimate.normal(value, variance, degrees) if known else Estimate(float(value))
        estimates.append(found)
    return estimates


def dealt(
    owners: np.ndarray, groups: int, rng: np.random.Generator, classes: np.ndarray | None = None
) -> np.ndarray:
    """Deal whole owners into groups, as many into each but for one: the group of each image.

    With `classes` the owners of each class are dealt evenly; an owner counts for the class of his
    first image.
    """
    first, code = np.unique(np.asarray(owners), return_index=True, return_inverse=True)[1:]
    order = rng.permutation(len(first))
    if classes is not None:
        order = order[np.argsort(np.asarray(classes)[first][order], kind="stable")]
    group = np.empty(len(first), dtype=np.int64)
    group[order] = np.arange(len(first)) % groups
    return group[code]


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
