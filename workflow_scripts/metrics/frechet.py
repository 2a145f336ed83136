"""Fréchet distances between two sets of features, (n, d) and (m, d), in float64."""

import numpy as np

from workflow_scripts.metrics.estimates import as_features, dealt

# Cholesky's factor is taken where every feature has at least this share of its variance for itself,
# unexplained by those before it: rounding then stays far below 1e-6 of the distance.
OWN_VARIANCE = 1e-8
PIECES = (1, 2, 3, 4)  # into how many a set is cut to see how the distance grows with 1/N
# So many owners leave every piece two of them even where any tenth of all is missing.
FEWEST_OWNERS = 4 * max(PIECES)


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
    """Return A with AᵀA the covariance of `x`, of min(n, d) rows.

    By Cholesky's factor, at half the cost of a QR decomposition of the features, which stands in
    where the covariance is nearly singular.
    """
    centred = (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)
    if len(x) <= x.shape[1]:
        return centred
    covariance = centred.T @ centred
    try:
        root = np.linalg.cholesky(covariance, upper=True)
    except np.linalg.LinAlgError:
        return np.linalg.qr(centred, mode="r")
    if (np.square(np.diag(root)) < OWN_VARIANCE * np.diag(covariance)).any():
        return np.linalg.qr(centred, mode="r")
    return root


def frechet_distance_infinity(
    x: np.ndarray, y: np.ndarray, cuts_x: np.ndarray, cuts_y: np.ndarray
) -> float:
    """Return the squared Fréchet distance extrapolated to infinitely many images of both sets.

    The bias is about proportional to 1/N (Chong & Forsyth 2020, "Effectively unbiased FID and
    Inception Score and where to find them"): the value is the intercept of a straight line through
    the distances of whole sets, halves, thirds and quarters. Both sets are cut alike, into disjoint
    pieces whose distances are averaged, so that each size uses every image once.

    May be negative. The line is bent, and the value biased upwards, where the smallest piece has
    fewer images than features: of 256 independent features, truth 0, it is three quarters of the
    plain distance of 200 images, and half a per cent of that of 1,024.

    Parameters
    ----------
    cuts_x, cuts_y : as `cuts` returns them

    Raises
    ------
    ValueError
        If a piece has fewer than two images.
    """
    means = []
    for pieces, of_x, of_y in zip(PIECES, cuts_x.T, cuts_y.T, strict=True):
        distances = [frechet_distance(x[of_x == p], y[of_y == p]) for p in range(pieces)]
        means.append(np.mean(distances))
    return float(np.polyfit(PIECES, means, 1)[1])


def cuts(
    owners: np.ndarray, rng: np.random.Generator, classes: np.ndarray | None = None
) -> np.ndarray:
    """Cut a set at random into each number of PIECES: which each image is in, int64 (n, 4).

    Parameters
    ----------
    owners : whose each image is, one label per image: an owner's images stay together
    classes : the class of each image, where their numbers are fixed: pieces hold about as many of
        each
    """
    return np.stack([dealt(owners, pieces, rng, classes) for pieces in PIECES], axis=1)
