"""Confidence against accuracy."""

import numpy as np
import pytest

from workflow_scripts.common.schemas import CALIBRATION
from workflow_scripts.study.calibration import BINS, reliability, top_label


def test_bins_are_open_below_and_closed_above():
    probabilities = np.array([[1.0, 0.0], [14 / 15, 1 / 15], [14.01 / 15, 0.99 / 15], [0.5, 0.5]])
    confidence, number = top_label(probabilities)
    np.testing.assert_allclose(confidence, [1, 14 / 15, 14.01 / 15, 0.5])
    assert number.tolist() == [14, 13, 14, 7]


def test_the_predictions_of_all_seeds_are_pooled():
    first = [[0.7, 0.2, 0.1], [0.1, 0.61, 0.29]]
    second = [[0.68, 0.2, 0.12], [0.3, 0.05, 0.65]]
    found = reliability(np.array([first, second]), np.array([0, 2]))
    CALIBRATION.validate(found.assign(arm="a"))
    # Confidences 0.61 and 0.65 (bin 9), of which the second is right; 0.7 and 0.68 (bin 10), both.
    assert found["bin"].tolist() == [9, 10]
    assert found["images"].tolist() == [2, 2]
    assert found["confidence"].tolist() == pytest.approx([0.63, 0.69])
    assert found["accuracy"].tolist() == [0.5, 1]


def test_deserved_confidence_lies_on_the_diagonal():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(3), (2, 40000))
    truth = (probabilities[0].cumsum(axis=1) > rng.random((40000, 1))).argmax(axis=1)
    found = reliability(probabilities[:1], truth)
    assert len(found) == BINS - 5  # the most probable of three is above 1/3
    assert found["images"].sum() == 40000
    clear = found[found["images"] > 1000]
    np.testing.assert_allclose(clear["accuracy"], clear["confidence"], atol=0.05)
