"""Fréchet distances against closed forms, independent references and other tools."""

import mpmath
import numpy as np
import pytest
import scipy.linalg
import torch
from cleanfid.fid import fid_from_feats
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.image.fid import _compute_fid

from workflow_scripts.metrics.estimates import group_jackknife
from workflow_scripts.metrics.frechet import (
    FEWEST_OWNERS,
    PIECES,
    cuts,
    frechet_distance,
    frechet_distance_infinity,
)


def features(n: int, d: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Correlated, skewed features, as a network gives them."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(d, d)) / np.sqrt(d)
    return np.abs(rng.normal(shift, 1, (n, d)) @ mixing)


def whitened(n: int, d: int, seed: int) -> np.ndarray:
    """A sample whose mean is exactly 0 and whose covariance is exactly the identity."""
    x = np.random.default_rng(seed).normal(size=(n, d))
    x -= x.mean(axis=0)
    return np.linalg.solve(np.linalg.cholesky(np.atleast_2d(np.cov(x, rowvar=False))), x.T).T


def sqrtm_reference(x: np.ndarray, y: np.ndarray) -> float:
    """The formula as it stands in the paper, with scipy's matrix root."""
    first, second = (np.cov(side, rowvar=False) for side in (x, y))
    root = scipy.linalg.sqrtm(first @ second)
    shift = x.mean(axis=0) - y.mean(axis=0)
    return float(shift @ shift + np.trace(first) + np.trace(second) - 2 * np.trace(root).real)


def eigen_reference(x: np.ndarray, y: np.ndarray) -> float:
    """tr (Σ₁Σ₂)^½ as tr (Σ₁^½ Σ₂ Σ₁^½)^½ by eigendecomposition: exact for singular Σ too."""
    first, second = (np.cov(side, rowvar=False) for side in (x, y))
    values, vectors = np.linalg.eigh(first)
    half = vectors * np.sqrt(values.clip(0)) @ vectors.T
    root = np.sqrt(np.linalg.eigvalsh(half @ second @ half).clip(0)).sum()
    shift = x.mean(axis=0) - y.mean(axis=0)
    return float(shift @ shift + np.trace(first) + np.trace(second) - 2 * root)


@given(
    scales=st.lists(st.tuples(st.floats(0.1, 5), st.floats(0.1, 5)), min_size=1, max_size=6),
    shift=st.floats(-3, 3),
)
def test_frechet_closed_form_of_aligned_gaussians(scales, shift):
    first, second = np.array(scales).T
    d = len(first)
    x = whitened(40, d, 0) * first
    y = whitened(50, d, 1) * second + shift
    expected = d * shift**2 + np.square(first - second).sum()
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize(("n", "m", "d"), [(300, 300, 48), (90, 400, 64)])
def test_frechet_agrees_with_matrix_root_and_with_other_tools(n, m, d):
    x, y = features(n, d, 0), features(m, d, 1, shift=0.3)
    value = frechet_distance(x, y)
    assert value == pytest.approx(sqrtm_reference(x, y), rel=1e-6)
    assert value == pytest.approx(fid_from_feats(x, y), rel=1e-6)
    moments = [
        torch.from_numpy(moment)
        for side in (x, y)
        for moment in (side.mean(axis=0), np.cov(side, rowvar=False))
    ]
    assert value == pytest.approx(float(_compute_fid(*moments)), rel=1e-6)


@pytest.mark.parametrize(("n", "m"), [(12, 12), (2, 2), (20, 300), (300, 20)])
def test_frechet_with_fewer_images_than_features(n, m):
    x, y = features(n, 64, 0), features(m, 64, 1, shift=0.3)
    assert frechet_distance(x, y) == pytest.approx(eigen_reference(x, y), rel=1e-6)


@pytest.mark.parametrize("noise", [0, 1e-9, 1e-5, 1e-3])
def test_frechet_takes_singular_and_nearly_singular_covariances(noise):
    x, y = features(200, 16, 0), features(200, 16, 1)
    x[:, 3], y[:, 3] = 0, 0  # a unit that never fires
    x[:, 5] = x[:, 6] + noise * np.random.default_rng(2).normal(size=200)
    assert frechet_distance(x, y) == pytest.approx(eigen_reference(x, y), rel=1e-6)


def exact_reference(x: np.ndarray, y: np.ndarray) -> float:
    """The same as `eigen_reference` in numbers of 60 digits, where float64 would not do."""
    with mpmath.workdps(60):
        means, covariances = [], []
        for side in (x, y):
            rows = mpmath.matrix(side.tolist())
            mean = mpmath.ones(1, len(side)) * rows / len(side)
            centred = rows - mpmath.ones(len(side), 1) * mean
            means.append(mean)
            covariances.append(centred.T * centred / (len(side) - 1))
        first, second = covariances
        values, vectors = mpmath.eigsy(first)
        half = vectors * mpmath.diag([mpmath.sqrt(max(v, 0)) for v in values]) * vectors.T
        roots = mpmath.eigsy(half * second * half, eigvals_only=True)
        shift = mpmath.norm(means[0] - means[1]) ** 2
        traces = sum(first[i, i] + second[i, i] for i in range(first.rows))
        return float(shift + traces - 2 * sum(mpmath.sqrt(max(v, 0)) for v in roots))


def test_frechet_takes_features_of_very_different_scales():
    scale = np.logspace(-6, 3, 6)
    x, y = features(40, 6, 0) * scale, features(40, 6, 1) * scale
    assert frechet_distance(x, y) == pytest.approx(exact_reference(x, y), rel=1e-9)


def test_frechet_takes_duplicated_rows_and_two_images():
    x, y = features(6, 20, 0), features(6, 20, 1, shift=0.3)
    twice = np.repeat(x, 2, axis=0)
    assert frechet_distance(twice, y) == pytest.approx(eigen_reference(twice, y), rel=1e-6)
    # Two images span a line: the distance of the means, of the lengths, and of the directions.
    (a, b), (c, e) = x[:2], y[:2]
    u, v = (a - b) / np.sqrt(2), (c - e) / np.sqrt(2)
    shift = (a + b - c - e) / 2
    expected = shift @ shift + u @ u + v @ v - 2 * abs(u @ v)
    assert frechet_distance(x[:2], y[:2]) == pytest.approx(expected, rel=1e-9)


def test_frechet_of_one_image_is_refused():
    with pytest.raises(ValueError, match="two images"):
        frechet_distance(features(5, 3, 0), features(1, 3, 1))


@settings(max_examples=25)
@given(n=st.integers(2, 40), d=st.integers(1, 20), seed=st.integers(0, 5))
def test_frechet_is_a_distance(n, d, seed):
    x, y = features(n, d, seed), features(n + 1, d, seed + 10, shift=0.5)
    scale = np.var(x) * d
    assert frechet_distance(x, x) <= 1e-12 * scale + 1e-14
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-9)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]
    assert frechet_distance(x @ turn + 3, y @ turn + 3) == pytest.approx(
        frechet_distance(x, y), rel=1e-6, abs=1e-10
    )


def extrapolated(x: np.ndarray, y: np.ndarray, seed: int = 0, owners=None, classes=None) -> float:
    """The extrapolated distance; every image is of another owner if none are given."""
    rng = np.random.default_rng([seed, 1])
    people = [np.arange(len(side)) if owners is None else owners for side in (x, y)]
    return frechet_distance_infinity(x, y, *[cuts(of, rng, classes) for of in people])


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_infinity_is_about_the_closed_form_where_the_plain_value_is_not(shift):
    n, d = 400, 24
    spread = np.linspace(0.5, 1.5, d)
    plain, infinite = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(n, d)) * spread + shift, rng.normal(size=(n, d))
        y = y if shift else y * spread
        plain.append(frechet_distance(x, y))
        infinite.append(extrapolated(x, y, seed))
    expected = d * shift**2 + (np.square(spread - 1).sum() if shift else 0)
    error = np.std(infinite, ddof=1) / np.sqrt(len(infinite))
    bias = np.mean(plain) - expected
    if not shift:
        assert bias > 8 * np.std(plain, ddof=1) / np.sqrt(len(plain))
    assert abs(np.mean(infinite) - expected) < 3.5 * error + 0.1 * bias


def test_infinity_is_a_line_through_whole_halves_thirds_and_quarters():
    """Of sets of four equal images each, cut evenly, each piece holds the same: no slope."""
    x, y = (np.repeat(features(8, 3, seed, shift=seed), 12, axis=0) for seed in (0, 1))
    own = np.repeat(np.arange(8), 12)
    value = extrapolated(x, y, classes=own)
    # Pieces are the same images but for n − 1: 96 (1 − 1/96), 48 (1 − 1/48) and so on.
    pieces = np.array([1, 2, 3, 4])
    means = [frechet_distance(x[::p], y[::p]) for p in pieces]
    assert value == pytest.approx(np.polyfit(pieces, means, 1)[1], rel=1e-9)


def test_infinity_keeps_an_owners_images_together():
    """Ten films of each patient: as if there were a tenth of the images, not more certainty."""
    n, d = 60, 6
    apart, together = [], []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        x, y = (np.repeat(rng.normal(size=(n, d)), 10, axis=0) for _ in range(2))
        owners = np.repeat(np.arange(n), 10)
        together.append(extrapolated(x, y, seed, owners))
        apart.append(extrapolated(x, y, seed))
    error = np.std(together, ddof=1) / 5
    assert abs(np.mean(together)) < 3.5 * error + 0.02
    assert np.mean(apart) > np.mean(together) + 5 * error


def test_cuts_hold_every_image_once_and_keep_owners_and_classes_together():
    owners = np.repeat(np.arange(48), 2)
    classes = owners % 3
    cut = cuts(owners, np.random.default_rng(0), classes)
    assert cut.shape == (96, len(PIECES))
    for pieces, of in zip(PIECES, cut.T, strict=True):
        assert (of[::2] == of[1::2]).all()
        for name in range(3):
            found = np.bincount(of[classes == name], minlength=pieces)
            assert len(found) == pieces
            assert np.ptp(found) <= 2


@pytest.mark.parametrize("owners", [FEWEST_OWNERS, 21, 25])
def test_fewest_owners_are_enough_for_an_interval(owners):
    x, y = features(owners, 2, 0), features(owners, 2, 1)
    for seed in range(8):
        of_x, of_y = (cuts(np.arange(owners), np.random.default_rng([seed, i])) for i in (0, 1))
        estimate = group_jackknife(
            lambda here, there, x_cuts=of_x, y_cuts=of_y: frechet_distance_infinity(
                x[here], y[there], x_cuts[here], y_cuts[there]
            ),
            *[np.arange(owners)] * 2,
            seed=seed,
        )
        assert estimate.low < estimate.value < estimate.high


def test_infinity_depends_on_the_cuts_and_a_piece_of_one_image_is_refused():
    x, y = features(80, 5, 0), features(80, 5, 1)
    assert extrapolated(x, y, 1) == extrapolated(x, y, 1) != extrapolated(x, y, 2)
    with pytest.raises(ValueError, match="two images"):
        extrapolated(x[:7], y[:7])
