"""AUROC with DeLong's interval, and balanced accuracy by patient, against independent references."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from workflow_scripts.metrics.recognition import auroc, balanced_accuracy, components


def drawn(seed: int, n: int = 120, classes: int = 3, signal: float = 1.0):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, classes, n)
    scores = rng.normal(0, 1, (n, classes)) + signal * (ids[:, None] == np.arange(classes))
    return np.round(scores, 1), ids  # with ties


@given(seed=st.integers(0, 200))
def test_components_are_the_shares_of_pairs(seed):
    scores, ids = drawn(seed, n=25)
    positive = ids == ids[0]
    if positive.all():
        return
    x, y = scores[positive, 0][:, None], scores[~positive, 0]
    wins = (x > y) + 0.5 * (x == y)
    v10, v01 = components(scores[:, 0], positive)
    np.testing.assert_allclose(v10, wins.mean(axis=1))
    np.testing.assert_allclose(v01, wins.mean(axis=0))


def test_auroc_is_scikit_learns_and_its_variance_delongs_formula():
    scores, ids = drawn(1)
    each, mean = auroc(scores, ids)
    assert mean.value == pytest.approx(np.mean([one.value for one in each]))
    for c, found in enumerate(each):
        positive = ids == c
        assert found.value == pytest.approx(roc_auc_score(positive, scores[:, c]))
        x, y = scores[positive, c][:, None], scores[~positive, c]
        wins = (x > y) + 0.5 * (x == y)
        variance = np.var(wins.mean(1), ddof=1) / len(x) + np.var(wins.mean(0), ddof=1) / len(y)
        half = 1.959964 * np.sqrt(variance)
        assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half))


def test_intervals_cover_the_truth():
    """Of the mean as well, whose classes share their images."""
    truth = auroc(*drawn(0, n=60_000))
    inside = np.zeros(2)
    for seed in range(1, 401):
        each, mean = auroc(*drawn(seed))
        for place, (found, true) in enumerate(((each[0], truth[0][0]), (mean, truth[1]))):
            inside[place] += found.low <= true.value <= found.high
    assert (inside / 400 > 0.92).all()
    assert (inside / 400 < 0.985).all()


def test_perfect_and_missing_classes():
    ids = np.array([0, 0, 1, 1])
    each, mean = auroc(np.eye(3)[ids], ids)
    assert [one.value for one in each] == pytest.approx([1, 1, np.nan], nan_ok=True)
    assert mean.value == 1
    assert np.isnan([each[0].low, each[0].high, mean.low]).all()  # no variance, no interval
    assert np.isnan(auroc(np.ones((2, 2)), np.array([0, 0]))[1].value)


@given(seed=st.integers(0, 200))
def test_balanced_accuracy_is_scikit_learns_and_lies_in_its_interval(seed):
    rng = np.random.default_rng(seed)
    scores, ids = drawn(seed, n=40)
    found = balanced_accuracy(scores.argmax(1) == ids, ids, rng.integers(0, 15, 40))
    assert found.value == pytest.approx(balanced_accuracy_score(ids, scores.argmax(1)))
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_of_one_class_and_one_image_per_patient_it_is_clopper_and_pearsons():
    right = np.arange(30) < 21
    found = balanced_accuracy(right, np.zeros(30, int), np.arange(30))
    # n / (n − 1) in the variance: one image fewer.
    assert found.low == pytest.approx(beta.ppf(0.025, 0.7 * 29, 0.3 * 29 + 1))
    everything = balanced_accuracy(np.ones(30, bool), np.zeros(30, int), np.arange(30))
    assert (everything.low, everything.high) == pytest.approx((0.025 ** (1 / 30), 1))


def test_interval_covers_the_truth_where_images_of_a_patient_go_together():
    rng = np.random.default_rng(3)
    inside = {True: 0, False: 0}
    owners, ids = np.repeat(np.arange(60), 4), np.repeat([0, 1], 120)
    for _ in range(400):
        right = np.repeat(rng.random(60) < np.repeat([0.9, 0.6], 30), 4)
        for by_patient in inside:
            whose = owners if by_patient else np.arange(240)
            found = balanced_accuracy(right, ids, whose)
            inside[by_patient] += found.low <= 0.75 <= found.high
    assert inside[True] / 400 > 0.93
    assert inside[False] / 400 < 0.75  # what it would be to take images for independent
