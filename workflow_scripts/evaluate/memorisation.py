"""Does a generator copy? Distances to the nearest training image, in a feature space.

Images of other patients that training never saw say how near is near by chance.

The comparison of distances is that of Meehan et al. (2020); diffusion models of chest radiographs
were found to copy by Akbar et al. (2023).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import beta

from workflow_scripts.evaluate.distances import Estimate, blocks, group_codes

SHARE = 0.01  # of held-out images, which the threshold takes for copies
DRAWS = 20_000  # of what chance alone would find


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

    In float64, from |x|² + |r|² − 2 x·r about the mean of the reference, which costs one matrix
    product; distances are exact to about 1e-8 of the spread of the features.

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


def rank(held_out: int) -> int:
    """Return which of n held-out distances, by size, is the threshold of copies.

    k = ⌊SHARE (n + 1)⌋, but at least 1.
    """
    return max(1, int(SHARE * (held_out + 1)))


def copy_threshold(held_out: np.ndarray) -> float:
    """Return the distance below which an image counts as a copy: the k-th smallest held-out one.

    An image that is as near to training as the n held-out ones falls below it with probability
    k / (n + 1): at most SHARE from n = 99 on, 1 / (n + 1) with fewer.
    """
    k = rank(len(held_out))
    return float(np.partition(held_out, k - 1)[k - 1])


def chance_of_copies(
    drawn: Sequence[int], held_out: Sequence[int], rng: np.random.Generator
) -> Chance:
    """Return the share of images below their thresholds where none is a copy.

    The threshold is itself an accident of the held-out images. If all distances of a class are
    independent and of one distribution, the share of it below the k-th smallest of n is
    Beta(k, n + 1 − k), so that the number found among m further images is
    BetaBinomial(m, k, n + 1 − k). Over classes the numbers add up, which is simulated.

    Parameters
    ----------
    drawn, held_out : numbers of images of each class, m and n
    """
    m, n = np.array(drawn), np.array(held_out)
    k = np.array([rank(count) for count in held_out])
    found = rng.binomial(m, rng.beta(k, n + 1 - k, (DRAWS, len(m)))).sum(axis=1)
    high = np.quantile(found, 0.975, method="inverted_cdf")
    return Chance(float((m * k / (n + 1)).sum() / m.sum()), float(high / m.sum()))
