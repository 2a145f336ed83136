"""What a network is given: noise of the stated variance, and boxes' means."""

import numpy as np
import pytest
import torch
from scipy.stats import rice

from workflow_scripts.diffusion.degradation import make_degradation

SHAPE = (2, 1, 200, 200)


def degraded(x0, kind, variances, seed=0):
    degradation = make_degradation({"kind": "noise", "noise": kind, "variances": variances})
    stream = torch.Generator().manual_seed(seed)
    normal = torch.randn(len(x0), degradation.draws, *x0.shape[1:], generator=stream)
    return degradation(x0, normal, torch.tensor(variances))


def test_gaussian_noise_has_its_variance_where_images_span_0_to_1():
    x0 = torch.zeros(SHAPE)
    y = degraded(x0, "gaussian", [0.0025, 0.04]) / 2  # as of images in [0, 1]
    assert y.mean(dim=(1, 2, 3)).tolist() == pytest.approx([0, 0], abs=0.005)
    assert y.var(dim=(1, 2, 3)).tolist() == pytest.approx([0.0025, 0.04], rel=0.03)


@pytest.mark.parametrize("level", [0.0, 0.1, 0.8])
def test_rician_noise_has_the_moments_of_rices_distribution(level):
    x0 = torch.full(SHAPE, 2 * level - 1)
    m = (degraded(x0, "rician", [0.0025, 0.04]) + 1) / 2
    for image, sigma in zip(m, (0.05, 0.2), strict=True):
        mean, variance = rice.stats(level / sigma, scale=sigma)
        assert image.mean().item() == pytest.approx(mean, rel=0.01)
        assert image.var().item() == pytest.approx(variance, rel=0.03)
        assert image.min() >= 0


def test_reduction_is_the_mean_of_boxes_and_keeps_what_is_smooth():
    reduction = make_degradation({"kind": "reduction", "factor": 4})
    x0 = torch.rand(1, 3, 16, 16) * 2 - 1
    small = reduction.reduced(x0)
    boxes = x0.numpy().reshape(1, 3, 4, 4, 4, 4).mean(axis=(3, 5))
    np.testing.assert_allclose(small.numpy(), boxes, atol=1e-6)
    nothing = torch.zeros(1, 0, 3, 16, 16), torch.zeros(1)
    flat = torch.full((1, 3, 16, 16), 0.3)
    torch.testing.assert_close(reduction(flat, *nothing), flat)
    assert reduction(x0, *nothing).shape == x0.shape


def test_nothing_is_given_where_nothing_is_said():
    assert make_degradation(None) is None
