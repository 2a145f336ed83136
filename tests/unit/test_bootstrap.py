"""Judging by resampled patients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from workflow_scripts.metrics.clusters import interval
from workflow_scripts.metrics.ranking import Ranking
from workflow_scripts.study.bootstrap import detectable, p_value, resampled
from workflow_scripts.study.measures import Measures, names


def test_the_bootstrap_is_that_of_a_loop_over_resampled_patients():
    rng = np.random.default_rng(2)
    patients, class_ids = rng.integers(25, size=90), rng.integers(3, size=90)
    probabilities = rng.dirichlet(np.ones(3), (2, 2, 90))
    judges = [[Measures(run, class_ids) for run in seeds] for seeds in probabilities]
    point, found = resampled(judges, patients, 70, np.random.default_rng(3))
    rows, rng = names(["a", "b", "c"]), np.random.default_rng(3)
    auroc, balanced = rows.index(("auroc", "b")), rows.index(("balanced_accuracy", "macro"))
    owners = np.unique(patients)
    for number in range(70):
        images = np.concatenate(
            [np.flatnonzero(patients == owners[p]) for p in rng.integers(len(owners), size=25)]
        )
        for arm in range(2):
            runs = probabilities[arm][:, images]
            expected = [roc_auc_score(class_ids[images] == 1, run[:, 1]) for run in runs]
            assert found[arm, auroc, number] == pytest.approx(np.mean(expected))
            expected = [
                balanced_accuracy_score(class_ids[images], run.argmax(axis=1)) for run in runs
            ]
            assert found[arm, balanced, number] == pytest.approx(np.mean(expected))
    assert point[1, 0, auroc] == pytest.approx(
        roc_auc_score(class_ids == 1, probabilities[1, 0, :, 1])
    )


@given(
    st.lists(st.integers(-3, 60), min_size=100, max_size=300),
    st.integers(0, 20),
    st.sampled_from([-1, 1]),
)
def test_an_interval_excludes_zero_exactly_where_its_p_value_is_below_five_percent(
    values, undefined, sign
):
    values = sign * np.array(values, dtype=float)
    values[:undefined] = np.nan
    low, high = interval(values)
    assert (p_value(values) <= 0.05) == (low > 0 or high < 0)


def test_p_values_by_hand():
    assert p_value(np.array([1.0, 2, 3, 4])) == pytest.approx(2 / 5)
    assert p_value(np.array([-1.0, 0, 3, 4, 5, 6, 7])) == pytest.approx(2 * 3 / 8)
    assert p_value(np.zeros(200)) == 1


# -- simulated test sets: patients with two images each, whose scores share the patient's part

PATIENTS, IMAGES, OWN = 180, 2, 0.6
PATIENT = np.repeat(np.arange(PATIENTS), IMAGES)
POSITIVE = PATIENT < PATIENTS // 3


def auroc_of(shift):
    """The true AUROC of scores of variance 1 about 0 and `shift`."""
    return norm.cdf(shift / np.sqrt(2))


def differences(shifts, rng, count=300, units=PATIENT):
    """Resampled differences of two arms that are right by `shifts`, on one drawn test set."""
    shared = OWN * np.repeat(rng.normal(size=PATIENTS), IMAGES)
    own = 0.5 * np.repeat(rng.normal(size=(2, PATIENTS)), IMAGES, axis=1)
    rest = np.sqrt(1 - OWN**2 - 0.25) * rng.normal(size=(2, PATIENTS * IMAGES))
    scores = np.array(shifts)[:, None] * POSITIVE + shared + own + rest
    rankings = [Ranking(row, POSITIVE) for row in scores]
    judges = [[lambda weights, r=r: r.auroc(weights)[None]] for r in rankings]
    _, found = resampled(judges, units, count, rng)
    return (found[1] - found[0])[0]


def test_arms_of_equal_skill_differ_by_nothing_in_95_percent_of_test_sets():
    # Three standard errors of 1,200 test sets are 1.9 %.
    rng = np.random.default_rng(5)
    ends = np.array([interval(differences((1, 1), rng)) for _ in range(1200)])
    covered = ((ends[:, 0] <= 0) & (ends[:, 1] >= 0)).mean()
    assert 0.93 <= covered <= 0.97


def test_resampling_images_instead_of_patients_would_be_caught_by_that():
    rng = np.random.default_rng(6)
    images = np.arange(len(PATIENT))
    ends = np.array([interval(differences((1, 1), rng, 300, images)) for _ in range(400)])
    assert ((ends[:, 0] <= 0) & (ends[:, 1] >= 0)).mean() < 0.91


def test_a_gain_as_large_as_the_detectable_one_is_found_in_four_of_five_test_sets():
    rng = np.random.default_rng(7)
    shift = 1.25
    for _ in range(3):  # to the gain that is as large as what is detectable about it
        smallest = np.mean([detectable(differences((1, shift), rng, 200)) for _ in range(40)])
        shift = np.sqrt(2) * norm.ppf(auroc_of(1) + smallest)
    found = np.array([interval(differences((1, shift), rng))[0] > 0 for _ in range(600)])
    assert found.mean() == pytest.approx(0.8, abs=0.05)
