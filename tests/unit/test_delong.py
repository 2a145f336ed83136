"""DeLong's interval against its definition, by hand, and against the bootstrap."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from workflow_scripts.metrics.clusters import interval
from workflow_scripts.metrics.ranking import Ranking
from workflow_scripts.study.bootstrap import resampled
from workflow_scripts.study.delong import components, difference_interval


def brute_force(arms, signs, positive):
    """DeLong's equations 4 to 6 pair by pair, with the covariance matrix of all classifiers."""
    scores = np.vstack(arms)
    x, y = scores[:, positive], scores[:, ~positive]
    kernel = (x[:, :, None] > y[:, None]) + 0.5 * (x[:, :, None] == y[:, None])
    covariance = np.cov(kernel.mean(axis=2)) / x.shape[1] + np.cov(kernel.mean(axis=1)) / y.shape[1]
    centre = signs @ kernel.mean(axis=(1, 2))
    half = norm.ppf(0.975) * np.sqrt(max(signs @ covariance @ signs, 0))
    return centre - half, centre + half


@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(2, 20), st.integers(2, 20))
def test_the_interval_is_that_of_the_definition_with_ties_and_seeds(seed, seeds, many, others):
    rng = np.random.default_rng(seed)
    positive = rng.permutation(np.arange(many + others) < many)
    arm, reference = rng.integers(0, 8, (2, seeds, many + others)) / 8
    signs = np.r_[np.ones(seeds), -np.ones(seeds)] / seeds
    np.testing.assert_allclose(
        difference_interval(arm, reference, positive),
        brute_force([arm, reference], signs, positive),
        atol=1e-7,
    )


def test_components_average_to_the_auroc():
    rng = np.random.default_rng(0)
    positive, scores = rng.random(80) < 0.3, rng.integers(0, 20, 80)
    for part in components(scores, positive):
        assert part.mean() == pytest.approx(roc_auc_score(positive, scores))


def test_four_images_by_hand():
    # Against scores that are all tied (AUROC 1/2, variance 0): positives above 1 and 1/2 of the
    # negatives, negatives below 1/2 and 1 of the positives; each variance is 1/8.
    positive = np.array([True, True, False, False])
    low, high = difference_interval(
        np.array([[3.0, 1.0, 2.0, 0.0]]), np.array([[1.0, 1.0, 1.0, 1.0]]), positive
    )
    half = 1.959964 * np.sqrt(0.125 / 2 + 0.125 / 2)
    assert (low, high) == pytest.approx((0.25 - half, 0.25 + half), abs=1e-6)


def test_an_arm_against_itself_has_no_difference_and_one_positive_no_interval():
    scores, positive = np.arange(10.0)[None], np.arange(10) % 2 == 0
    assert difference_interval(scores, scores, positive) == (0, 0)
    assert np.isnan(difference_interval(scores, -scores, np.arange(10) == 3)).all()


def test_it_agrees_with_the_bootstrap_where_patients_have_one_image_and_not_where_they_have_six():
    rng = np.random.default_rng(1)

    def widths(patients, images):
        """The bootstrap's width as a multiple of DeLong's."""
        patient = np.repeat(np.arange(patients), images)
        positive = patient < patients // 3
        own = np.repeat(rng.normal(size=(2, patients)), images, axis=1)  # of patient and arm
        arms = positive + own + 0.5 * rng.normal(size=(2, patients * images))
        rankings = [Ranking(scores, positive) for scores in arms]
        judges = [[lambda weights, r=r: r.auroc(weights)[None]] for r in rankings]
        _, drawn = resampled(judges, patient, 1500, rng)
        low, high = interval(drawn[1] - drawn[0])
        checked = difference_interval(arms[1:], arms[:1], positive)
        return (high - low)[0] / (checked[1] - checked[0])

    assert widths(600, 1) == pytest.approx(1, abs=0.08)
    assert widths(100, 6) > 1.5
