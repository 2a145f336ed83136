"""What is measured of sets of features against a reference set, each value with its interval."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from workflow_scripts.common.runtime import log
from workflow_scripts.common.seeds import generator
from workflow_scripts.metrics.estimates import Estimate, group_jackknife, jackknives
from workflow_scripts.metrics.frechet import (
    FEWEST_OWNERS,
    PIECES,
    cuts,
    frechet_distance,
    frechet_distance_infinity,
)
from workflow_scripts.metrics.kernels import gaussian_kernel_distance, kernel_distance
from workflow_scripts.metrics.manifold import Manifold, manifolds

# Products of one Fréchet distance, about Σ n d min(n, d) over the pieces it is taken of, up to
# which synthetic images get an interval. It takes 21 of them: some minutes on one core.
AFFORDABLE = 1e11
# Of a class of fewer images, balls that reach to the k-th neighbour hold too large a share of it.
FEWEST_PER_NEIGHBOUR = 4


class Images(NamedTuple):
    """One set: features (n, d), whose each image is, and its class where their numbers are fixed.

    `cuts` into pieces are those of the extrapolated Fréchet distance alone.
    """

    x: np.ndarray
    owners: np.ndarray
    classes: np.ndarray | None
    cuts: np.ndarray | None = None


def kernel_estimates(
    sets: dict[str, Images], reference: Images, bandwidth: float
) -> dict[str, dict[str, Estimate]]:
    """Return both kernel distances of every set from the reference."""
    measured = {"kernel_distance": {}, "gaussian_kernel_distance": {}}
    for name, one in sets.items():
        labels = one.owners, reference.owners, one.classes, reference.classes
        measured["kernel_distance"][name] = kernel_distance(one.x, reference.x, *labels)
        measured["gaussian_kernel_distance"][name] = gaussian_kernel_distance(
            one.x, reference.x, bandwidth, *labels
        )
    return measured


def frechet_estimates(
    sets: dict[str, Images], reference: Images, seed: int
) -> dict[str, dict[str, Estimate]]:
    """Return both Fréchet distances of every set from the reference, the second if it can be had.

    Pooled only: the first is biased by N, and the second needs many images.
    """
    found = {"frechet_distance": estimates_of(frechet_of_sets, sets, reference, (1,), seed)}
    n, d = reference.x.shape
    owners = min(len(np.unique(one.owners)) for one in (reference, *sets.values()))
    if owners < FEWEST_OWNERS:
        log.warning("no Fréchet distance at infinite N: a set has images of %d patients", owners)
    elif n < max(PIECES) * d:
        log.warning(
            "no Fréchet distance at infinite N: %d features need %d images per set, not %d",
            *(d, max(PIECES) * d, n),
        )
    else:
        # Cut once: pieces drawn anew without each group would pass for uncertainty.
        reference, *cut = [
            one._replace(cuts=cuts(one.owners, generator(seed, "pieces", name), one.classes))
            for name, one in [("reference", reference), *sets.items()]
        ]
        sets = dict(zip(sets, cut, strict=True))
        found["frechet_distance_infinity"] = estimates_of(
            infinity_of_sets, sets, reference, PIECES, seed
        )
    return found


def frechet_of_sets(one: Images, other: Images) -> float:
    """Return the Fréchet distance of two sets."""
    return frechet_distance(one.x, other.x)


def infinity_of_sets(one: Images, other: Images) -> float:
    """Return the Fréchet distance at infinite N of two sets that are cut."""
    return frechet_distance_infinity(one.x, other.x, one.cuts, other.cuts)


def estimates_of(
    distance: Callable[[Images, Images], float],
    sets: dict[str, Images],
    reference: Images,
    pieces: Sequence[int],
    seed: int,
) -> dict[str, Estimate]:
    """Return a Fréchet distance of every set, with an interval for synthetic images if affordable.

    Parameters
    ----------
    pieces : into how many both sets are cut
    """
    n, d = reference.x.shape
    found = {name: Estimate(distance(one, reference)) for name, one in sets.items()}
    if sum(n * d * min(n / count, d) for count in pieces) <= AFFORDABLE:
        one = sets["synthetic"]
        found["synthetic"] = group_jackknife(
            lambda here, there: distance(part(one, here), part(reference, there)),
            one.owners,
            reference.owners,
            seed,
            classes_x=one.classes,
            classes_y=reference.classes,
        )
    return found


def manifold_estimates(
    sets: dict[str, Images], reference: Images, neighbours: int, seed: int, label: str
) -> dict[str, dict[str, Estimate]]:
    """Return precision, recall, density and coverage of every set, if there are enough images."""
    n, fewest = len(reference.x), FEWEST_PER_NEIGHBOUR * neighbours
    if n < fewest:
        log.warning(
            "%s: precision, recall, density and coverage need %d images per set or more, "
            "not %d: they are left out",
            *(label, fewest, n),
        )
        return {}
    found = {}
    for name, one in sets.items():
        if name == "synthetic":
            found[name] = jackknives(
                partial(manifolds, one.x, reference.x, neighbours),
                one.owners,
                reference.owners,
                seed,
                classes_x=one.classes,
                classes_y=reference.classes,
            )
        else:
            whole = [np.ones((1, len(side.x)), dtype=bool) for side in (one, reference)]
            values = manifolds(one.x, reference.x, neighbours, *whole)[0]
            found[name] = [Estimate(value) for value in values]
    most = Manifold(1.0, 1.0, np.inf, 1.0)
    return {
        metric: {name: of[number].within(0.0, most[number]) for name, of in found.items()}
        for number, metric in enumerate(Manifold._fields)
    }


def part(one: Images, rows: np.ndarray) -> Images:
    """Return some images of a set."""
    return Images(*(None if column is None else column[rows] for column in one))
