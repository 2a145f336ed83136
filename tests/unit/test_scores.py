"""The class score against its closed form and against torchmetrics."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.image.inception import InceptionScore

from workflow_scripts.metrics.scores import class_score


def probabilities(n: int, k: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(k, 0.4), n)


@given(k=st.integers(1, 9), each=st.integers(1, 5))
def test_sure_and_balanced_is_k_and_undecided_is_one(k, each):
    sure = np.repeat(np.eye(k), each, axis=0)
    assert class_score(sure) == pytest.approx(k)
    assert class_score(np.repeat(sure[:1], each, axis=0)) == pytest.approx(1)
    assert class_score(np.full((each, k), 1 / k)) == pytest.approx(1)


@given(n=st.integers(1, 20), k=st.integers(1, 7), seed=st.integers(0, 9))
def test_between_one_and_k_whatever_the_order(n, k, seed):
    p = probabilities(n, k, seed)
    assert 1 - 1e-9 <= class_score(p) <= k + 1e-9
    assert class_score(p[::-1]) == pytest.approx(class_score(p), rel=1e-12)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of a metric that is not updated
def test_agrees_with_torchmetrics():
    p = probabilities(200, 10, 0)
    # It takes logits from a network: here the network gives them back.
    score = InceptionScore(feature=torch.nn.Identity(), splits=1)
    score.features.append(torch.from_numpy(np.log(p)))
    assert class_score(p) == pytest.approx(float(score.compute()[0]), rel=1e-6)


def test_float32_is_enough_and_what_is_no_probability_is_refused():
    p = probabilities(50, 8, 1)
    assert class_score(p.astype(np.float32)) == pytest.approx(class_score(p), rel=1e-5)
    for wrong in (2 * p, p - 0.1, np.full((3, 4), np.nan), p[:0]):
        with pytest.raises(ValueError, match="probabilities"):
            class_score(wrong)
