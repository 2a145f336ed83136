"""Calibration of drawn answers: a posterior that is right, and ones that are not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from workflow_scripts.metrics.ensembles import by_spread, coverage, rank_shares, squares


def posterior(seed=0, n=40, k=8, size=16, scale=1.0, bias=0.0):
    """Images whose truth and answers scatter alike about what is known, by `scale` too much or little.

    How much differs from pixel to pixel, over a factor of ten.
    """
    rng = np.random.default_rng(seed)
    centre = rng.random((n, size, size))
    width = 0.1 * 10 ** rng.uniform(-1, 0, (n, size, size))
    truth = centre + width * rng.normal(size=centre.shape)
    answers = centre[:, None] + scale * width[:, None] * rng.normal(size=(n, k, size, size)) + bias
    return truth, answers


@pytest.mark.parametrize("k", [2, 3, 8])
def test_ranks_of_a_right_posterior_are_uniform(k):
    shares = np.mean([rank_shares(*pair) for pair in zip(*posterior(k=k), strict=True)], axis=0)
    assert shares.sum() == pytest.approx(1)
    assert shares == pytest.approx(np.full(k + 1, 1 / (k + 1)), abs=0.01)


@given(st.integers(1, 6), st.integers(0, 100))
def test_ranks_by_hand_with_ties_shared(k, seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, (4, 5)).astype(float)
    answers = rng.integers(0, 3, (k, 4, 5)).astype(float)
    mask = rng.random((4, 5)) < 0.7
    mask[0, 0] = True
    expected = np.zeros(k + 1)
    for pixel in zip(*np.nonzero(mask), strict=True):
        below = sum(answer[pixel] < truth[pixel] for answer in answers)
        equal = sum(answer[pixel] == truth[pixel] for answer in answers)
        expected[below : below + equal + 1] += 1 / (equal + 1)
    assert rank_shares(truth, answers, mask) == pytest.approx(expected / mask.sum())


def test_coverage_is_of_nested_intervals():
    expected, found = coverage(np.full(9, 1 / 9))
    assert expected == pytest.approx([7 / 9, 5 / 9, 3 / 9, 1 / 9])
    assert found == pytest.approx(expected)
    outside = np.zeros(9)
    outside[0] = 1
    assert coverage(outside)[1] == pytest.approx(np.zeros(4))


def test_coverage_of_too_narrow_answers_is_that_of_their_distribution():
    """The truth lies between the extremes of many answers of half the width as the normal has it."""
    truth, answers = posterior(k=2, n=60, scale=0.5)
    (_,), (found,) = coverage(
        np.mean([rank_shares(*pair) for pair in zip(truth, answers, strict=True)], axis=0)
    )
    rng = np.random.default_rng(1)
    ends = np.sort(0.5 * rng.normal(size=(200_000, 2)), axis=1)
    assert found == pytest.approx(np.mean(norm.cdf(ends[:, 1]) - norm.cdf(ends[:, 0])), abs=0.01)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_squares_have_the_expectation_that_they_say(scale):
    found = [squares(*pair) for pair in zip(*posterior(scale=scale, n=80), strict=True)]
    error, due = np.concatenate(found, axis=1)
    # (σ² + s²/K) over s² (1 + 1/K), of a truth of width σ and answers of width s
    expected = (1 + scale**2 / 8) / (scale**2 * (1 + 1 / 8))
    assert error.mean() / due.mean() == pytest.approx(expected, rel=0.05)


def test_bins_of_a_right_posterior_lie_on_the_diagonal_from_little_spread_to_much():
    truth, answers = posterior(n=60)
    rows = by_spread(list(truth), list(answers), [None] * 60, bins=6)
    assert [row["bin"] for row in rows] == list(range(6))
    assert {row["pixels"] for row in rows} == {60 * 256 // 6}
    for row in rows:
        assert row["error"] == pytest.approx(row["spread"], rel=0.05)
    assert rows[-1]["spread"] > 3 * rows[0]["spread"]


def test_bins_show_answers_that_err_more_than_they_scatter():
    truth, answers = posterior(n=60, scale=0.5)
    rows = by_spread(list(truth), list(answers), [None] * 60, bins=6)
    assert all(row["error"] > 1.5 * row["spread"] for row in rows)


def test_a_mask_and_channels_count():
    truth, answers = posterior(n=1)
    mask = np.zeros((16, 16), dtype=bool)
    mask[3:9, 4:12] = True
    inside = rank_shares(truth[0][3:9, 4:12], answers[0][:, 3:9, 4:12])
    assert rank_shares(truth[0], answers[0], mask) == pytest.approx(inside)
    assert len(squares(truth[0], answers[0], mask)[0]) == mask.sum()
    colour = np.stack([truth[0]] * 3, axis=-1), np.stack([answers[0]] * 3, axis=-1)
    assert rank_shares(*colour, mask) == pytest.approx(inside)
