"""Fidelity and diversity apart: do images lie among real ones, and does each real one have company?

A set's manifold is estimated by balls about its images, each reaching to its k-th nearest
neighbour in the set.
"""

from typing import NamedTuple

import numpy as np

from workflow_scripts.metrics.estimates import blocks
from workflow_scripts.metrics.kernels import squared_distances

TIE = 1e-10  # of the reference's variance: squared distances that differ by less are equal


class Manifold(NamedTuple):
    """What is expected of a second sample of the reference's distribution stands behind each."""

    precision: float  # share of images in a ball of the reference: near 1
    recall: float  # share of the reference in a ball of the images: as high
    density: float  # mean number of reference balls about an image, over k: 1
    coverage: float  # share of reference balls that hold an image: nearly 1 − 2⁻ᵏ


def manifold(x: np.ndarray, y: np.ndarray, neighbours: int) -> Manifold:
    """Return precision and recall, density and coverage of `x` against the reference `y`.

    Kynkäänniemi et al. (2019), equations 1 and 2; Naeem et al. (2020), equations 3 and 4, which
    are less at the mercy of single outliers. All depend on the numbers of images: compare only at
    equal n. In float64, by blocks: memory grows with the number of images, not with its square.

    Parameters
    ----------
    x, y : features, (n, d) and (m, d)
    neighbours : k, from 1

    Raises
    ------
    ValueError
        If a set has fewer than k + 1 images.
    """
    if min(len(x), len(y)) <= neighbours:
        raise ValueError(
            f"balls to the neighbour number {neighbours} need {neighbours + 1} images or more in "
            f"each set, got {len(x)} and {len(y)}"
        )
    whole = [np.ones((1, len(side)), dtype=bool) for side in (x, y)]
    return manifolds(x, y, neighbours, *whole)[0]


def manifolds(
    x: np.ndarray, y: np.ndarray, neighbours: int, kept_x: np.ndarray, kept_y: np.ndarray
) -> list[Manifold]:
    """Return `manifold` of parts of both sets, for little more than the cost of the whole.

    Distances, the dearer the more features there are, are taken once for all parts.

    Parameters
    ----------
    kept_x, kept_y : bool (s, n) and (s, m), which images are in each of s pairs of parts

    Returns
    -------
    s of them, NaN where a part has fewer than k + 1 images
    """
    centre = np.mean(y, axis=0, dtype=np.float64)
    x, y = x - centre, y - centre
    tie = TIE * np.square(y).sum(axis=1).mean()
    reach_x = squared_radii(x, neighbours, kept_x) + tie
    reach_y = squared_radii(y, neighbours, kept_y) + tie
    around = np.empty((len(kept_x), len(x)))
    recalled, covered = np.zeros((2, *kept_y.shape), dtype=bool)
    for block in blocks(len(x)):
        square = squared_distances(x[block], y)
        for number, here in enumerate(kept_x[:, block]):
            held = square <= reach_y[number]
            around[number, block] = held.sum(axis=1)
            covered[number] |= held[here].any(axis=0)
            recalled[number] |= (square <= reach_x[number, block, None]).any(axis=0)
    found = []
    for number, (here, there) in enumerate(zip(kept_x, kept_y, strict=True)):
        if min(here.sum(), there.sum()) <= neighbours:
            found.append(Manifold(*[np.nan] * 4))
            continue
        balls = around[number, here]
        found.append(
            Manifold(
                precision=float((balls > 0).mean()),
                recall=float(recalled[number, there].mean()),
                density=float(balls.mean() / neighbours),
                coverage=float(covered[number, there].mean()),
            )
        )
    return found


def squared_radii(x: np.ndarray, neighbours: int, kept: np.ndarray) -> np.ndarray:
    """Return each row's squared distance to its k-th nearest other row in each part of a set.

    Parameters
    ----------
    kept : bool (s, n), which rows are in each of s parts

    Returns
    -------
    float64 (s, n); minus infinity for a row that is not in the part: its ball holds nothing
    """
    parts, place = np.unique(kept, axis=0, return_inverse=True)
    radii = np.full(parts.shape, -np.inf)
    for block in blocks(len(x)):
        square = squared_distances(x[block], x)
        square[np.arange(len(square)), np.arange(block.start, block.stop)] = np.inf
        for part, reach in zip(parts, radii, strict=True):
            if part.sum() > neighbours:
                near = square[part[block]][:, part]
                near.partition(neighbours - 1, axis=1)
                reach[block][part[block]] = near[:, neighbours - 1]
    return radii[place.ravel()]
