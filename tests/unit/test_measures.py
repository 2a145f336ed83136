"""The measures against scikit-learn, and on their own terms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    roc_auc_score,
)

from workflow_scripts.common.schemas import MACRO
from workflow_scripts.metrics.ranking import Ranking
from workflow_scripts.study.measures import Measures, names


def ranking(scores, positive, weights):
    return Ranking(scores, positive)(weights)


def measured(probabilities, class_ids, weights):
    """Every measure of three classes, by metric and class."""
    values = Measures(probabilities, class_ids)(np.asarray(weights, dtype=np.float32))
    return dict(zip(names(["a", "b", "c"]), values, strict=True))


@st.composite
def cases(draw):
    """Scores with many ties, both classes, whole weights that leave both classes something."""
    count = draw(st.integers(2, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    positive = rng.random(count) < draw(st.floats(0.05, 0.95))
    positive[:2] = True, False
    scores = rng.integers(0, draw(st.integers(1, 50)), count) / 50
    weights = rng.poisson(1, (count, 3))
    weights[:2] += 1
    return scores, positive, weights


@given(cases())
def test_ranking_agrees_with_scikit_learn_under_weights_and_ties(case):
    scores, positive, weights = case
    auroc, average = ranking(scores, positive, weights)
    for number, column in enumerate(weights.T):
        assert auroc[number] == pytest.approx(
            roc_auc_score(positive, scores, sample_weight=column), abs=1e-9
        )
        assert average[number] == pytest.approx(
            average_precision_score(positive, scores, sample_weight=column), abs=1e-9
        )


@given(cases())
def test_a_weight_counts_as_often_as_the_image_repeated(case):
    scores, positive, weights = case
    repeated = np.repeat(np.arange(len(scores)), weights[:, 0])
    once = np.ones((len(repeated), 1))
    weighted = np.array(ranking(scores, positive, weights[:, :1]))
    copied = np.array(ranking(scores[repeated], positive[repeated], once))
    np.testing.assert_allclose(weighted, copied, atol=1e-12)


@given(cases())
def test_reversing_the_scores_reverses_auroc(case):
    scores, positive, weights = case
    forward, backward = (
        ranking(scores, positive, weights)[0],
        ranking(-scores, positive, weights)[0],
    )
    np.testing.assert_allclose(forward + backward, 1, atol=1e-12)


def test_a_weighting_without_positives_or_negatives_is_undefined_and_says_so():
    weights = np.array([[0, 1, 1], [1, 0, 1], [2, 0, 1]])
    auroc, average = ranking(np.array([0.9, 0.5, 0.1]), np.array([True, False, False]), weights)
    assert np.isnan(auroc).tolist() == [True, True, False]
    assert np.isnan(average).tolist() == [True, True, False]
    assert auroc[2] == average[2] == 1


def test_ranking_does_not_touch_its_arguments():
    scores, weights = np.array([0.2, 0.9, 0.4]), np.ones((3, 2), dtype=np.float32)
    kept = scores.copy(), weights.copy()
    ranking(scores, np.array([True, False, True]), weights)
    assert (scores == kept[0]).all()
    assert (weights == kept[1]).all()


@given(cases())
def test_images_that_do_not_count_might_as_well_not_be_there(case):
    scores, positive, weights = case
    within = np.r_[True, True, np.arange(len(scores) - 2) % 3 > 0]
    found = Ranking(scores, positive, within)
    expected = Ranking(scores[within], positive[within])
    np.testing.assert_allclose(found(weights), expected(weights[within]), atol=1e-12)
    np.testing.assert_array_equal(found.auroc(weights), found(weights)[0])


def test_measures_agree_with_scikit_learn_under_weights():
    rng = np.random.default_rng(0)
    class_ids, probabilities = rng.integers(0, 3, 200), rng.dirichlet(np.ones(3), 200)
    weights = rng.poisson(1, (200, 5))
    found = measured(probabilities, class_ids, weights)
    assert list(found) == names(["a", "b", "c"])
    for number, column in enumerate(weights.T):
        given_to = probabilities.argmax(axis=1)
        assert found["balanced_accuracy", MACRO][number] == pytest.approx(
            balanced_accuracy_score(class_ids, given_to, sample_weight=column)
        )
        for metric, score in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
            each = [
                score(class_ids == k, probabilities[:, k], sample_weight=column) for k in range(3)
            ]
            assert [found[metric, name][number] for name in "abc"] == pytest.approx(each)
            assert found[metric, MACRO][number] == pytest.approx(np.mean(each))
        squares = [
            brier_score_loss(class_ids == k, probabilities[:, k], sample_weight=column)
            for k in range(3)
        ]
        assert found["brier", MACRO][number] == pytest.approx(np.sum(squares))


def test_brier_score_and_calibration_error_by_hand():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.61, 0.29], [0.3, 0.05, 0.65]])
    weights = np.array([[1, 0], [1, 1], [0, 1]])
    found = measured(probabilities, np.array([0, 2, 2]), weights)
    # Squared errors: 0.09 + 0.04 + 0.01; 0.01 + 0.3721 + 0.5041; 0.09 + 0.0025 + 0.1225.
    np.testing.assert_allclose(
        found["brier", MACRO], [(0.14 + 0.8862) / 2, (0.8862 + 0.215) / 2], atol=1e-9
    )
    # 0.7 (right) and 0.61 (wrong) in two bins; 0.61 and 0.65 (right) in one.
    np.testing.assert_allclose(
        found["calibration_error", MACRO], [(0.3 + 0.61) / 2, (1.26 - 1) / 2], atol=1e-9
    )


def test_a_class_without_images_leaves_what_is_taken_over_classes_undefined():
    probabilities, class_ids = np.eye(3) * 0.4 + 0.2, np.arange(3)
    found = measured(probabilities, class_ids, [[1, 1], [1, 1], [1, 0]])
    for key in (("auroc", "c"), ("auroc", MACRO), ("auprc", MACRO), ("balanced_accuracy", MACRO)):
        assert found[key][0] == 1
        assert np.isnan(found[key][1])
    assert not np.isnan(found["brier", MACRO]).any()
