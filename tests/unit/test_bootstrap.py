"""Resampling by patient."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.study.bootstrap import BLOCK, interval, resamples
from workflow_scripts.study.measures import ranking


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
    values = np.array([np.arange(101.0), np.full(101, np.nan)])
    values[0, 50] = np.nan
    low, high = interval(values)
    assert low[0] == pytest.approx(np.nanquantile(values[0], 0.025))
    assert high[0] == pytest.approx(np.nanquantile(values[0], 0.975))
    assert np.isnan([low[1], high[1]]).all()


def test_the_interval_covers_the_true_auroc_of_gaussian_scores():
    # Scores N(0, 1) and N(1, 1): AUROC is Phi(1 / sqrt 2). 400 studies of 60 + 60 patients.
    truth, trials, rng = 0.7602499389, 400, np.random.default_rng(5)
    positive = np.arange(120) < 60
    covered = 0
    for _ in range(trials):
        scores = rng.normal(size=120) + positive
        blocks = resamples(np.arange(120), 400, rng)
        low, high = interval(np.hstack([ranking(scores, positive, block)[0] for block in blocks]))
        covered += low <= truth <= high
    # 95 % with three standard errors of 400 trials.
    assert 0.917 <= covered / trials <= 0.983


def test_images_of_a_patient_that_resemble_each_other_widen_the_interval():
    rng = np.random.default_rng(6)
    patients = np.repeat(np.arange(80), 6)
    positive = patients < 40
    # Most of an image's score is its patient's.
    scores = positive + np.repeat(rng.normal(size=80), 6) + 0.3 * rng.normal(size=480)

    def width(units):
        blocks = resamples(units, 1000, np.random.default_rng(0))
        low, high = interval(np.hstack([ranking(scores, positive, block)[0] for block in blocks]))
        return high - low

    assert width(patients) > 1.7 * width(np.arange(480))
