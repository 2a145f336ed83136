"""Means whose patients are resampled: against closed forms and by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.common.seeds import generator
from workflow_scripts.metrics.clusters import (
    BLOCK,
    cluster_means,
    interval,
    resamples,
)


def drawn(patients, count, seed=0):
    return np.hstack(list(resamples(patients, count, np.random.default_rng(seed))))


@given(
    st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=30), st.integers(1, 2 * BLOCK + 3)
)
def test_a_resample_draws_as_many_patients_as_there_are_and_all_their_images(patients, count):
    patients = np.array(patients)
    weights = drawn(patients, count)
    assert weights.shape == (len(patients), count)
    _, first, patient = np.unique(patients, return_index=True, return_inverse=True)
    assert (weights == weights[first][patient]).all()
    assert (weights[first].sum(axis=0) == len(first)).all()


def test_every_patient_is_drawn_once_on_average():
    weights = drawn(np.arange(50), 4000)
    assert np.abs(weights.mean(axis=1) - 1).max() < 0.08
    assert weights.var() == pytest.approx(1 - 1 / 50, rel=0.03)


def test_the_same_seed_gives_the_same_resamples_and_another_one_others():
    patients = np.arange(30)
    assert (drawn(patients, 300) == drawn(patients, 300)).all()
    assert (drawn(patients, 300) != drawn(patients, 300, seed=1)).any()
    assert (drawn(patients, 300)[:, :40] == drawn(patients, 40)).all()


def test_an_interval_leaves_undefined_resamples_out():
    values = np.array([np.arange(100.0), np.full(100, np.nan)])
    values[0, 50] = np.nan
    low, high = interval(values)
    # 99 values: the whole part of 100 x 0.025 is 2, so the second smallest and largest.
    assert (low[0], high[0]) == (1, 98)
    assert np.isnan([low[1], high[1]]).all()


def test_a_mean_is_that_of_images_and_its_error_that_of_patients():
    """Patients of m equal images: the standard error is that of n patients, not of n m images."""
    rng = np.random.default_rng(1)
    of_patient = rng.normal(size=400)
    values, patients = np.repeat(of_patient, 5), np.repeat(np.arange(400), 5)
    (found,) = cluster_means(values[:, None], patients, 4000, seed=2)
    assert found.value == pytest.approx(of_patient.mean())
    expected = 2 * 1.96 * of_patient.std() / np.sqrt(400)
    assert found.high - found.low == pytest.approx(expected, rel=0.05)


def test_the_bootstrap_of_a_mean_is_a_loop_over_drawn_patients():
    rng = np.random.default_rng(3)
    patients = rng.integers(12, size=50)
    values = rng.normal(size=(50, 2))
    found = cluster_means(values, patients, 99, seed=4)
    owners = np.unique(patients)
    images = {owner: np.flatnonzero(patients == owner) for owner in owners}
    weights = np.hstack(list(resamples(patients, 99, generator(4, "patients"))))
    means = []
    for column in weights.T:
        rows = np.repeat(np.arange(50), column.astype(int))
        assert sum(len(images[o]) * column[images[o][0]] for o in owners) == len(rows)
        means.append(values[rows].mean(axis=0))
    low, high = interval(np.array(means).T)
    assert [estimate.low for estimate in found] == pytest.approx(low.tolist())
    assert [estimate.high for estimate in found] == pytest.approx(high.tolist())


def covered(shift, by_patient=True, rounds=400):
    """How often the interval of a paired difference holds the true one, `shift`.

    Two methods share what is hard about an image and about a patient, who has 1 to 6 images.
    """
    hits = 0
    for seed in range(rounds):
        rng = np.random.default_rng(seed)
        patients = np.repeat(np.arange(60), rng.integers(1, 7, size=60))
        n = len(patients)
        shared = rng.normal(0, 5, 60)[patients] + rng.normal(0, 3, n)
        other = shared + shift + rng.normal(0, 1, 60)[patients] + rng.normal(0, 0.5, n)
        owners = patients if by_patient else np.arange(n)
        gain = (other - shared)[:, None]
        (found,) = cluster_means(gain, owners, 400, seed)
        hits += found.low <= shift <= found.high
    return hits / rounds


def test_the_interval_of_a_paired_difference_covers_the_truth():
    # Two standard errors of 400 rounds are 2.2 %; sixty patients lose about 1 %.
    assert 0.91 < covered(0.3) < 0.98


def test_resampling_images_instead_of_patients_would_be_caught_by_that():
    assert covered(0.3, by_patient=False) < 0.85


def test_a_paired_difference_is_sharper_than_the_two_means():
    rng = np.random.default_rng(6)
    patients = np.repeat(np.arange(40), 3)
    one = rng.normal(20, 5, 120)
    other = one + rng.normal(0.5, 0.2, 120)
    values = np.column_stack([one, other, other - one])
    first, second, gain = cluster_means(values, patients, 500, seed=1)
    assert gain.value == pytest.approx(second.value - first.value)
    assert gain.high - gain.low < 0.1 * (first.high - first.low)
    assert gain.low > 0 and first.high > second.low


def test_one_patient_alone_has_no_interval_and_undefined_values_are_refused():
    (found,) = cluster_means(np.array([[1.0], [3.0]]), np.array(["a", "a"]), 100, seed=0)
    assert found.value == 2 and np.isnan([found.low, found.high]).all()
    for values in (np.array([[np.nan]]), np.array([[np.inf]]), np.zeros((0, 1)), np.zeros(3)):
        with pytest.raises(ValueError, match="finite numbers"):
            cluster_means(values, np.arange(len(values)), 100, seed=0)
