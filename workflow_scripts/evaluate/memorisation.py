"""Does a generator copy? Distances to the nearest training image, in a feature space.

Images of other patients that training never saw say how near is near by chance.

The comparison of distances is that of Meehan et al. (2020); diffusion models of chest radiographs
were found to copy by Akbar et al. (2023).
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import beta

from workflow_scripts.evaluate.distances import Estimate, blocks, group_codes

CHANCE = 0.01  # share of held-out images that the threshold takes for copies


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

    In float64, from |x|² + |r|² − 2 x·r about the mean of the reference, which costs one matrix
    product; distances are exact to about 1e-8 of the spread of the features.

    Parameters
    ----------
    x, reference : features, (n, d) and (m, d)
    owners, reference_owners : whose each image is, (n,) and (m,): an image is not compared with
        those of its own owner. None: with all.

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
    return Nearest(position, np.sqrt(least.clip(min=0)))


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
    value, effective = float(hits.mean()), size.sum() ** 2 / np.square(size).sum()
    count = value * effective
    low = beta.ppf(0.025, count, effective - count + 1) if value > 0 else 0.0
    high = beta.ppf(0.975, count + 1, effective - count) if value < 1 else 1.0
    return Estimate(value, float(low), float(high))


def copy_threshold(held_out: np.ndarray) -> float:
    """Return the distance below which an image counts as a copy.

    It is the k-th smallest of n held-out distances, k = ⌊CHANCE (n + 1)⌋ but at least 1. An image
    that is as near to training as held-out ones are then falls below it with probability
    k / (n + 1): at most CHANCE from n = 99 on, 1 / (n + 1) with fewer.
    """
    rank = max(1, int(CHANCE * (len(held_out) + 1)))
    return float(np.partition(held_out, rank - 1)[rank - 1])
