"""Intervals against closed forms, exact references and simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, norm, t

from workflow_scripts.metrics.estimates import (
    Estimate,
    dealt,
    effective_proportion,
    group_codes,
    group_jackknife,
    group_jackknives,
    proportion,
)


def difference(x: np.ndarray, y: np.ndarray):
    """The difference of means as a statistic of rows."""
    return lambda here, there: x[here].mean() - y[there].mean()


def standard_error(estimate: Estimate, degrees: float) -> float:
    return (estimate.high - estimate.low) / 2 / t.ppf(0.975, degrees)


def test_normal_interval():
    estimate = Estimate.normal(3.0, 4.0)
    assert estimate.high - 3 == pytest.approx(2 * norm.ppf(0.975))
    assert 3 - estimate.low == pytest.approx(2 * norm.ppf(0.975))
    assert Estimate.normal(3.0, 4.0, 9).high - 3 == pytest.approx(2 * 2.262157)


def test_within_cuts_intervals_alone():
    assert Estimate(0.1, -0.2, 1.4).within(0, 1) == Estimate(0.1, 0.0, 1.0)
    assert Estimate(0.1, -0.2, 1.4).within(low=0) == Estimate(0.1, 0.0, 1.4)
    assert np.isnan(Estimate(0.1).within(0, 1).low)


def test_proportion_at_an_effective_number():
    found = effective_proportion(0.3, 12.5)
    assert found.low == pytest.approx(beta.ppf(0.025, 3.75, 9.75))
    assert found.high == pytest.approx(beta.ppf(0.975, 4.75, 8.75))
    assert effective_proportion(0.0, 12.5).low == 0
    assert effective_proportion(1.0, 12.5).high == 1
    wider = effective_proportion(0.3, 6)
    assert wider.low < found.low < found.high < wider.high


@given(total=st.integers(1, 60), data=st.data())
def test_proportion_is_the_exact_test_turned_round(total, data):
    from scipy.stats import binom

    right = data.draw(st.integers(0, total))
    estimate = proportion(right, total)
    assert estimate.value == right / total
    if right:
        assert binom.sf(right - 1, total, estimate.low) == pytest.approx(0.025, rel=1e-5)
    if right < total:
        assert binom.cdf(right, total, estimate.high) == pytest.approx(0.025, rel=1e-5)


def test_groups_of_one_are_the_textbook_variance_of_a_mean():
    """Delete-one of a mean is s²/n exactly; two sets add up, with Welch's degrees of freedom."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=10), rng.normal(2, 3, 10)
    estimate = group_jackknife(difference(x, y), np.arange(10), np.arange(10), seed=0)
    parts = x.var(ddof=1) / 10, y.var(ddof=1) / 10
    degrees = 9 * sum(parts) ** 2 / sum(part**2 for part in parts)
    assert estimate.value == pytest.approx(x.mean() - y.mean())
    assert standard_error(estimate, degrees) == pytest.approx(np.sqrt(sum(parts)))


@pytest.mark.parametrize("films", [1, 4])
def test_covers_the_truth_and_is_as_wide_as_it_should_be(films):
    """Every owner has several equal films: only owners count."""
    n, m, covered, errors = 60, 80, [], []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        x, y = np.repeat(rng.exponential(1, n), films), np.repeat(rng.normal(0, 2, m), films)
        owners = [np.repeat(np.arange(count), films) for count in (n, m)]
        estimate = group_jackknife(difference(x, y), *owners, seed=seed)
        covered.append(estimate.low <= 1 <= estimate.high)
        errors.append(standard_error(estimate, 16) ** 2)
    assert np.mean(errors) == pytest.approx(1 / n + 4 / m, rel=0.15)
    assert 0.92 < np.mean(covered) < 0.98


def test_a_bias_by_the_number_of_images_is_no_variance():
    x = np.random.default_rng(0).normal(size=100)
    owners = np.arange(100)
    plain = group_jackknife(lambda here, _: x[here].mean(), owners, owners, 0)
    biased = group_jackknife(lambda here, _: x[here].mean() + 50 / len(here), owners, owners, 0)
    assert biased.high - biased.low == pytest.approx(plain.high - plain.low)


def test_fixed_numbers_of_each_class_are_kept():
    """Classes far apart: their numbers are fixed, so their distance is no uncertainty."""
    classes = np.repeat([0, 1], 50)
    widths = {}
    for name, given_classes in (("free", None), ("fixed", classes)):
        found = []
        for seed in range(40):
            x = 100 * classes + np.random.default_rng(seed).normal(size=100)
            one = group_jackknife(
                lambda here, _, x=x: x[here].mean(),
                *[np.arange(100)] * 2,
                seed=seed,
                classes_x=given_classes,
            )
            found.append(standard_error(one, 9) ** 2)
        widths[name] = np.mean(found)
    assert widths["fixed"] == pytest.approx(1 / 100, rel=0.35)
    assert widths["free"] > 100 * widths["fixed"]


def test_several_values_are_those_one_by_one():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=40), rng.normal(size=50)
    statistics = [difference(x, y), lambda here, there: x[here].var() / y[there].var()]
    owners = np.arange(40) // 2, np.arange(50) // 2
    both = group_jackknives(lambda *rows: [s(*rows) for s in statistics], *owners, seed=3)
    assert both == [group_jackknife(s, *owners, seed=3) for s in statistics]


@pytest.mark.parametrize(
    ("statistic", "owners"),
    [
        (lambda here, there: len(here) / 12, 9),  # fewer owners than groups
        (lambda here, there: 4.0, 12),  # which nothing changes
        (lambda here, there: 4.0 if len(here) == 12 else np.nan, 12),
    ],
)
def test_no_interval_where_there_is_none(statistic, owners):
    of = np.arange(12) % owners
    estimate = group_jackknife(statistic, of, of, seed=0)
    assert np.isfinite(estimate.value)
    assert np.isnan([estimate.low, estimate.high]).all()


@given(
    owners=st.lists(st.integers(0, 30), min_size=1, max_size=60),
    groups=st.integers(1, 10),
    seed=st.integers(0, 5),
)
def test_whole_owners_are_dealt_evenly(owners, groups, seed):
    owners = np.array(owners)
    classes = owners % 3
    for given_classes in (None, classes):
        group = dealt(owners, groups, np.random.default_rng(seed), given_classes)
        people, first = np.unique(owners, return_index=True)
        assert (group == group[first][np.searchsorted(people, owners)]).all()
        sizes = [np.bincount(group[first], minlength=groups)]
        if given_classes is not None:
            sizes += [
                np.bincount(group[first][classes[first] == c], minlength=groups) for c in range(3)
            ]
        assert all(np.ptp(size) <= 1 for size in sizes)


def test_dealing_is_seeded_and_random():
    owners = np.arange(100)
    deal = [dealt(owners, 5, np.random.default_rng(seed)).tolist() for seed in (0, 0, 1)]
    assert deal[0] == deal[1] != deal[2]
    assert deal[0] != (owners % 5).tolist()


def test_group_codes():
    np.testing.assert_array_equal(group_codes(np.array(list("bab")), 3), [1, 0, 1])
    np.testing.assert_array_equal(group_codes(None, 3), [0, 1, 2])
