"""The measures against scikit-learn, and on their own terms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score

from workflow_scripts.common.schemas import MACRO
from workflow_scripts.study.measures import balanced_accuracy, measure, names, ranking


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


def test_balanced_accuracy_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    class_ids, probabilities = rng.integers(0, 4, 200), rng.random((200, 4))
    weights = rng.poisson(1, (200, 5))
    found = balanced_accuracy(probabilities, class_ids, weights)
    for number, column in enumerate(weights.T):
        expected = balanced_accuracy_score(
            class_ids, probabilities.argmax(axis=1), sample_weight=column
        )
        assert found[number] == pytest.approx(expected, abs=1e-6)


def test_measures_stand_in_the_order_of_their_names_and_macro_is_the_mean():
    classes = ["a", "b", "c"]
    rng = np.random.default_rng(1)
    class_ids, probabilities = rng.integers(0, 3, 90), rng.dirichlet(np.ones(3), 90)
    values = dict(
        zip(names(classes), measure(probabilities, class_ids, np.ones((90, 1)))[:, 0], strict=True)
    )
    assert len(values) == 2 * len(classes) + 3
    for metric, score in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
        each = [score(class_ids == number, probabilities[:, number]) for number in range(3)]
        assert [values[metric, name] for name in classes] == pytest.approx(each)
        assert values[metric, MACRO] == pytest.approx(np.mean(each))
    assert values["balanced_accuracy", MACRO] == pytest.approx(
        balanced_accuracy_score(class_ids, probabilities.argmax(axis=1))
    )
