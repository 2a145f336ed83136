"""Precision, recall, density and coverage against loops, closed forms and planted failures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.metrics import manifold as module
from workflow_scripts.metrics.manifold import manifold, manifolds


def naive(x: np.ndarray, y: np.ndarray, k: int) -> tuple[float, ...]:
    """The definitions of both papers, pair by pair."""

    def radius(points, i):
        others = [np.linalg.norm(points[i] - p) for j, p in enumerate(points) if j != i]
        return sorted(others)[k - 1]

    balls = [[np.linalg.norm(a - b) <= radius(y, j) for j, b in enumerate(y)] for a in x]
    own = [[np.linalg.norm(a - b) <= radius(x, i) for b in y] for i, a in enumerate(x)]
    return (
        np.mean([any(row) for row in balls]),
        np.mean([any(column) for column in zip(*own, strict=True)]),
        sum(map(sum, balls)) / (k * len(x)),
        np.mean([any(column) for column in zip(*balls, strict=True)]),
    )


def expected_coverage(n: int, m: int, neighbours: int) -> float:
    """1 − (m−1)…(m−k) / ((n+m−1)…(n+m−k)), of m images by n others of the same distribution.

    Among an image's n + m − 1 neighbours, the k nearest are all of its own set (Naeem et al. 2020,
    equation 9, there for n = m).
    """
    k = np.arange(1, neighbours + 1)
    return float(1 - np.prod((m - k) / (n + m - k)))


@settings(max_examples=30)
@given(
    n=st.integers(4, 14),
    m=st.integers(4, 14),
    d=st.integers(1, 5),
    k=st.integers(1, 3),
    seed=st.integers(0, 9),
    shift=st.sampled_from([0.0, 1.0, 100.0]),
)
def test_agrees_with_a_loop(n, m, d, k, seed, shift):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)) + shift, rng.normal(size=(m, d))
    np.testing.assert_allclose(manifold(x, y, k), naive(x, y, k), atol=1e-12)


def test_the_same_in_blocks_and_after_a_move(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 4)), rng.normal(size=(40, 4))
    whole = manifold(x, y, 3)
    assert manifold(x + 1e4, y + 1e4, 3) == pytest.approx(whole)
    cut = module.blocks
    monkeypatch.setattr(module, "blocks", lambda count: cut(count, 7))
    assert manifold(x, y, 3) == whole


@pytest.mark.parametrize(("n", "m"), [(120, 120), (60, 120)])
def test_two_samples_of_one_distribution(n, m):
    k, found = 5, []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found.append(manifold(rng.normal(size=(n, 6)), rng.normal(size=(m, 6)), k))
    means, errors = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(60)
    assert abs(means[2] - 1) < 3.5 * errors[2]
    assert abs(means[3] - expected_coverage(n, m, k)) < 3.5 * errors[3]
    if n == m:
        assert abs(means[0] - means[1]) < 5 * errors[0]


def test_parts_at_once_are_those_one_by_one(monkeypatch):
    cut = module.blocks
    monkeypatch.setattr(module, "blocks", lambda count: cut(count, 7))
    rng = np.random.default_rng(0)
    x, y = 50 + rng.normal(size=(40, 3)), 50 + rng.normal(size=(30, 3))
    kept_x, kept_y = (rng.random((6, len(side))) < 0.7 for side in (x, y))
    kept_x[1], kept_y[2], kept_y[3] = True, True, kept_y[4]
    kept_x[5] = np.arange(40) < 3
    found = manifolds(x, y, 3, kept_x, kept_y)
    for here, there, one in zip(kept_x[:5], kept_y[:5], found[:5], strict=True):
        assert one == pytest.approx(manifold(x[here], y[there], 3))
    assert np.isnan(found[5]).all()
    assert len(set(found[:5])) == 5


def test_one_mode_is_precise_but_covers_little_and_noise_is_neither():
    rng = np.random.default_rng(0)
    centres = 20 * np.eye(4)
    y = np.concatenate([rng.normal(size=(40, 4)) + c for c in centres])
    one_mode = rng.normal(size=(160, 4)) + centres[0]
    found = manifold(one_mode, y, 5)
    assert found.precision > 0.8
    assert found.density > 0.8
    assert found.recall < 0.3
    assert found.coverage < 0.3
    assert manifold(rng.normal(size=(160, 4)) * 5 - 100, y, 5) == (0, 0, 0, 0)


def test_copies_are_within_and_duplicated_rows_are_no_special_case():
    rng = np.random.default_rng(0)
    y = 100 + rng.normal(size=(30, 8))
    assert manifold(y.copy(), y, 2) == (1, 1, pytest.approx(3 / 2), 1)
    twice = np.repeat(y, 4, axis=0)  # with k = 3 every ball is a point
    found = manifold(twice.copy(), twice, 3)
    assert found == (1, 1, pytest.approx(4 / 3), 1)
    assert manifold(twice + 1e-3, twice, 3) == (0, 0, 0, 0)


def test_too_few_images():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3, 2)), rng.normal(size=(9, 2))
    for sets in ((x, y), (y, x)):
        with pytest.raises(ValueError, match="need 4 images or more in each set"):
            manifold(*sets, 3)
    assert np.isfinite(manifold(x, y, 2)).all()
