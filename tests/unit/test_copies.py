"""The mathematics of the search for copies: distances, thresholds, and what chance alone finds."""

from dataclasses import astuple
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, betabinom

from workflow_scripts.metrics.copies import (
    Limit,
    Nearest,
    chance_of_copies,
    clustered_proportion,
    copy_limits,
    core,
    moves,
    nearer,
    nearest,
    reach,
)
from workflow_scripts.metrics.estimates import proportion


@given(
    counts=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    offset=st.sampled_from([0.0, 1e6]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=30)
def test_nearest_distances_by_definition(counts, offset, seed):
    rng = np.random.default_rng(seed)
    x, reference = (rng.normal(offset, 1, (count, 5)) for count in counts)
    mine, theirs = (rng.integers(0, 4, count) for count in counts)
    apart = np.sqrt(np.square(x[:, None] - reference).sum(axis=2))
    tolerance = 1e-7 * max(1, offset)
    np.testing.assert_allclose(nearest(x, reference).distance, apart.min(axis=1), atol=tolerance)
    apart[mine[:, None] == theirs] = np.inf
    np.testing.assert_allclose(
        nearest(x, reference, mine, theirs).distance, apart.min(axis=1), atol=tolerance
    )


def test_nearest_distances_do_not_depend_on_the_blocks():
    rng = np.random.default_rng(0)
    x, reference = rng.normal(size=(2100, 3)), rng.normal(size=(4200, 3))
    found = nearest(x, reference).distance
    few = rng.choice(2100, 40, replace=False)
    apart = np.sqrt(np.square(x[few, None] - reference).sum(axis=2)).min(axis=1)
    np.testing.assert_allclose(found[few], apart, atol=1e-12)


def test_the_nearest_is_named_and_is_none_of_the_own_ones():
    reference = np.array([[0.0], [1.0], [5.0]])
    x = np.array([[0.2], [4.0], [0.2]])
    own, owners = np.array([7, 8, 0]), np.array([0, 1, 2])
    assert nearest(x, reference, own, owners).position.tolist() == [0, 2, 1]
    assert nearest(x[:1], reference[:1], np.zeros(1), np.zeros(1)).distance == np.inf


def test_a_copy_in_float32_far_from_the_origin_is_at_distance_0():
    rng = np.random.default_rng(0)
    reference = (100 + rng.normal(size=(50, 2048))).astype(np.float32)
    assert (nearest(reference, reference).distance == 0).all()
    # Real neighbours are 60 apart; in float32 the products alone are off by more than 1.
    assert nearest(reference[:1], reference[1:]).distance[0] > 50


def nearest_view(images: np.ndarray, reference: np.ndarray) -> Nearest:
    """Return the nearest reference of whichever view of the images is nearest to one."""
    views = (core(images, *move) for move in moves(images.shape[-1]))
    return reduce(nearer, (nearest(view, reference) for view in views))


@pytest.mark.parametrize("size", [16, 34, 64, 128])
def test_a_copy_that_is_shifted_brighter_and_of_more_contrast_is_the_same_in_pixels(size):
    rng = np.random.default_rng(size)
    images = rng.integers(60, 180, (9, size, size), dtype=np.uint8)
    centre = core(images)
    np.testing.assert_allclose(np.square(centre).sum(axis=1), 1, rtol=1e-5)
    assert centre.shape[1] == min(size - 2 * reach(size), 32) ** 2
    far = reach(size)
    padded = np.pad(images.astype(float), ((0, 0), (far, far), (far, far)), mode="edge")
    starts = [(far * (k // 3), far * (k % 3)) for k in range(9)]  # shifts as far as it goes
    copies = np.stack([padded[k, y : y + size, x : x + size] for k, (y, x) in enumerate(starts)])
    copies = (1.1 * copies + 7).round().astype(np.uint8)
    found = nearest_view(copies, centre)
    assert found.position.tolist() == list(range(9))
    assert found.distance.max() < 0.01
    plain = nearest(core(copies), centre).distance
    assert plain[4] == found.distance[4]  # the one that is not shifted
    assert np.delete(plain, 4).min() > 0.5
    # Of other images no view is near.
    assert nearest_view(copies[1:], centre[:1]).distance.min() > 0.5


def test_the_distance_in_pixels_is_that_of_correlation():
    a, b = np.random.default_rng(0).integers(0, 256, (2, 1, 20, 20), dtype=np.uint8)
    r = np.corrcoef(a[0, 1:-1, 1:-1].ravel(), b[0, 1:-1, 1:-1].ravel())[0, 1]
    assert nearest(core(a), core(b)).distance[0] == pytest.approx(np.sqrt(2 - 2 * r), rel=1e-5)
    assert (core(np.full((2, 20, 20), 9, dtype=np.uint8)) == 0).all()


@pytest.mark.parametrize(
    ("count", "rank"), [(1, 1), (12, 1), (99, 1), (198, 1), (199, 2), (1000, 10)]
)
def test_the_threshold_is_an_exact_quantile(count, rank):
    distances = np.random.default_rng(count).permutation(np.arange(1.0, count + 1))
    limits = copy_limits({"one": distances, "other": np.array([7.0, 4.0])})
    assert limits == {"one": Limit(rank, rank, count), "other": Limit(4.0, 1, 2)}
    assert rank / (count + 1) <= max(0.01, 1 / (count + 1))


@given(
    counts=st.lists(st.integers(1, 250), min_size=1, max_size=4),
    scale=st.floats(0.01, 100),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=50)
def test_a_class_has_a_threshold_of_its_own(counts, scale, seed):
    """Which no other class moves, and at most a hundredth of its held-out images pass."""
    rng = np.random.default_rng(seed)
    held_out = {str(k): rng.gamma(9, k + 1, count) for k, count in enumerate(counts)}
    limits = copy_limits(held_out)
    for name, near in held_out.items():
        assert (near < limits[name].distance).sum() <= 0.01 * len(near)
    others = {name: scale * near for name, near in held_out.items()} | {"0": held_out["0"]}
    assert copy_limits(others)["0"] == limits["0"]


@pytest.mark.parametrize(
    ("drawn", "held_out", "rank"),
    [(300, 20, 1), (100, 1, 1), (50, 99, 1), (400, 199, 2), (1000, 450, 4)],
)
def test_chance_is_beta_binomial(drawn, held_out, rank):
    found = chance_of_copies([drawn], [Limit(1.0, rank, held_out)], np.random.default_rng(0))
    law = betabinom(drawn, rank, held_out + 1 - rank)
    assert found.expected == pytest.approx(law.mean() / drawn)
    assert law.cdf(found.high * drawn) == pytest.approx(0.975, abs=0.02)


@pytest.mark.parametrize("held_out", [(110, 250, 160), (30, 3, 60)], ids=["many", "few"])
def test_chance_is_what_happens_where_nothing_is_copied(held_out):
    drawn, names = (200, 80, 300), "abc"
    rng = np.random.default_rng(0)
    found = np.zeros((1500, 3))
    for number in range(len(found)):
        limits = copy_limits(
            {name: rng.gamma(100, size=n) for name, n in zip(names, held_out, strict=True)}
        )
        for k, (name, m) in enumerate(zip(names, drawn, strict=True)):
            found[number, k] = (rng.gamma(100, size=m) < limits[name].distance).sum()
    for own in ([0], [1], [2], [0, 1, 2]):
        numbers = [drawn[k] for k in own]
        chance = chance_of_copies(numbers, [limits[names[k]] for k in own], rng)
        total = found[:, own].sum(axis=1)
        assert chance.expected == pytest.approx(total.mean() / sum(numbers), rel=0.2)
        assert np.mean(total > chance.high * sum(numbers)) < 0.025 + 0.012
    # Clopper & Pearson's interval takes the threshold as given, and is wrong more often.
    low = beta.ppf(0.025, total, sum(drawn) - total + 1)
    assert np.mean(low > chance.expected) > 0.05


@pytest.mark.parametrize("spread", [1.0, 0.3], ids=["as varied as real ones", "typical ones"])
def test_intervals_hold_a_half_as_often_as_they_promise(spread):
    """Fewer real images are nearest to typical images, and all of one patient count as one."""
    rng, held, worlds = np.random.default_rng(1), 0, 300
    for _ in range(worlds):
        people = rng.normal(size=(60, 4))
        real = np.repeat(people, 2, axis=0) + 0.3 * rng.normal(size=(120, 4))
        owners = np.repeat(np.arange(60), 2)
        chosen = nearest(spread * rng.normal(size=(80, 4)), real).position
        estimate = clustered_proportion(chosen < 60, owners[chosen])  # the first 30 were seen
        held += estimate.low <= 0.5 <= estimate.high
    assert held >= 0.92 * worlds


def test_clusters_of_one_give_the_exact_binomial_interval():
    for count in (0, 11, 50):
        found = clustered_proportion(np.arange(50) < count, np.arange(50))
        assert astuple(found) == pytest.approx(astuple(proportion(count, 50)))
    # Twenty images near to one patient's say as much as one.
    found = clustered_proportion(np.full(20, True), np.zeros(20))
    assert astuple(found) == pytest.approx(astuple(proportion(1, 1)))
