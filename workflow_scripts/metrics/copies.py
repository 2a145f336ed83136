"""Does a generator copy? Distances to the nearest training image, in a feature space.

Images of other patients that training never saw say how near is near by chance.

The comparison of distances is that of Meehan et al. (2020); diffusion models of chest radiographs
were found to copy by Akbar et al. (2023).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from workflow_scripts.metrics.estimates import Estimate, blocks, effective_proportion, group_codes

SHARE = 0.01  # of held-out images, which the threshold takes for copies
DRAWS = 20_000  # of what chance alone would find
SIDE = 32  # of what is compared in pixels


class Chance(NamedTuple):
    """What a share is where nothing is copied: on average, and at most in 97.5 % of cases."""

    expected: float
    high: float = np.nan


class Nearest(NamedTuple):
    """Each image's nearest reference: its position, and the distance, infinite where there is none."""

    position: np.ndarray
    distance: np.ndarray


def nearest(
    x: np.ndarray,
    reference: np.ndarray,
    owners: np.ndarray | None = None,
    reference_owners: np.ndarray | None = None,
) -> Nearest:
    """Return each image's nearest reference of another owner, by Euclidean distance.

    In float64. Which is nearest is found from |x|² + |r|² − 2 x·r about the mean of the reference,
    which costs one matrix product and tells apart what differs by 1e-8 of the spread of the
    features; its distance is then taken from the difference itself, 0 for equal images.

    Parameters
    ----------
    x, reference : features, (n, d) and (m, d)
    owners, reference_owners : whose each image is, integers (n,) and (m,): an image is not
        compared with those of its own owner. None: with all.

    Returns
    -------
    int64 (n,) and float64 (n,)
    """
    centre = np.mean(reference, axis=0, dtype=np.float64)
    position, least = np.zeros(len(x), dtype=np.int64), np.full(len(x), np.inf)
    for there in blocks(len(reference)):
        r = reference[there].astype(np.float64) - centre
        r_square = np.square(r).sum(axis=1)
        for here in blocks(len(x)):
            q = x[here].astype(np.float64) - centre
            square = np.square(q).sum(axis=1)[:, None] + r_square - 2 * q @ r.T
            if owners is not None:
                square[owners[here][:, None] == reference_owners[there]] = np.inf
            best = square.argmin(axis=1)
            found = square[np.arange(len(best)), best]
            nearer = found < least[here]
            least[here] = np.where(nearer, found, least[here])
            position[here] = np.where(nearer, there.start + best, position[here])
    distance = np.full(len(x), np.inf)
    for here in blocks(len(x)):
        apart = x[here].astype(np.float64) - reference[position[here]]
        found = np.isfinite(least[here])
        distance[here][found] = np.linalg.norm(apart[found], axis=1)
    return Nearest(position, distance)


def nearer(one: Nearest, other: Nearest) -> Nearest:
    """Return of each image whichever reference is nearer, the first where both are as near."""
    better = other.distance < one.distance
    return Nearest(*(np.where(better, *pair) for pair in zip(other, one, strict=True)))


def reach(size: int) -> int:
    """Return by how many pixels along each axis a copy may be shifted and is still found.

    A 64th (1.6 %) of the width, at least one pixel. On radiographs of 64 to 256 pixels every copy
    within the reach was found, and fewer than half at twice that along both axes.
    """
    return max(1, size // 64)


def moves(size: int) -> list[tuple[int, int]]:
    """Return the nine moves, down and right, by which copies of images of this size are sought.

    By `reach` either way or not at all, so that any shift within it is met to half of it: half of
    one of the areas that `core` averages over.
    """
    by = (0, -reach(size), reach(size))
    return [(down, right) for down in by for right in by]


def core(images: np.ndarray, down: int = 0, right: int = 0) -> np.ndarray:
    """Return what is compared of images in pixels: float32 (n, d), of unit length or 0.

    The image but for `reach` pixels at its edges, or the same window moved `down` and `right`;
    averaged over SIDE x SIDE areas where it is larger; without its brightness and its contrast. The
    distance of two such is √(2 − 2 r), r their correlation.

    Parameters
    ----------
    images : uint8 or uint16, (n, size, size) or (n, size, size, channels), whose channels count as
        one: brightness and contrast are those of all of them together
    down, right : pixels, at most `reach` either way
    """
    size = images.shape[1]
    edge, side = reach(size), size - 2 * reach(size)
    top, left = edge + down, edge + right
    x = torch.from_numpy(images[:, top : top + side, left : left + side]).float()
    if x.ndim == 4:
        x = x.movedim(3, 1)
    if side > SIDE:
        x = F.adaptive_avg_pool2d(x, SIDE)
    flat = x.flatten(1)
    return F.normalize(flat - flat.mean(dim=1, keepdim=True)).numpy()


def clustered_proportion(hits: np.ndarray, clusters: np.ndarray) -> Estimate:
    """Return a share and its 95 % interval where all of a cluster may be hits for one reason.

    Clopper & Pearson's interval at the effective number n² / Σ w², w the clusters' sizes (Korn &
    Graubard 1998). With clusters of one it is theirs.

    Parameters
    ----------
    hits : bool (n,)
    clusters : labels (n,)
    """
    size = np.bincount(group_codes(clusters, len(hits)))
    return effective_proportion(float(hits.mean()), size.sum() ** 2 / np.square(size).sum())


class Limit(NamedTuple):
    """The distance below which an image counts as a copy, and the held-out patients behind it.

    It is that of the patient of this `rank` among them, nearest first.
    """

    distance: float
    rank: int
    held_out: int


def copy_limits(held_out: dict[str, np.ndarray]) -> dict[str, Limit]:
    """Return each class's threshold of copies: the k-th smallest of its G held-out distances.

    k = ⌊SHARE (G + 1)⌋, but at least 1. An image that is as near to training as these falls below
    it with probability k / (G + 1), which is at most SHARE from G = 99 on, and 1 / (G + 1) below.

    Parameters
    ----------
    held_out : by class, the distances of G > 0 held-out images to the nearest training image,
        (G,): one of each patient, since those of one patient are not independent
    """
    limits = {}
    for label, distances in held_out.items():
        rank = max(1, int(SHARE * (len(distances) + 1)))
        nearest_ones = np.partition(distances, rank - 1)
        limits[label] = Limit(float(nearest_ones[rank - 1]), rank, len(distances))
    return limits


def chance_of_copies(
    drawn: Sequence[int], limits: Sequence[Limit], rng: np.random.Generator
) -> Chance:
    """Return the share of images below their thresholds where none is a copy.

    The threshold is itself an accident of the held-out patients. If all distances of a class are
    independent and of one distribution, the share of it below the k-th smallest of G is
    Beta(k, G + 1 − k), so that the number found among m further images is
    BetaBinomial(m, k, G + 1 − k). Over classes the numbers add up, which is simulated.

    Parameters
    ----------
    drawn : numbers of images of each class, m
    limits : the threshold of each class
    """
    m = np.array(drawn)
    k = np.array([limit.rank for limit in limits])
    held_out = np.array([limit.held_out for limit in limits])
    below = rng.beta(k, held_out + 1 - k, (DRAWS, len(m)))
    found = rng.binomial(m, below).sum(axis=1)
    high = np.quantile(found, 0.975, method="inverted_cdf")
    return Chance(float((m * k / (held_out + 1)).sum() / m.sum()), float(high / m.sum()))
