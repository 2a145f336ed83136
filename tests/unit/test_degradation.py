"""What a network is given: noise of the stated variance, and boxes' means."""

import numpy as np
import pytest
import torch
from scipy.stats import rice

from workflow_scripts.diffusion.degradation import make_degradation

NOISE = {"kind": "noise", "noise": "rician", "variances": [0.25, 0.5]}
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


def keys(t):
    """The weight of a sample at distance `t`: Keys 1981 with a = −0.75."""
    t, a = abs(t), -0.75
    if t < 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0


@pytest.mark.parametrize("factor", [2, 4])
def test_enlargement_is_cubic_convolution_with_edges_repeated(factor):
    reduction = make_degradation({"kind": "reduction", "factor": factor})
    small = (torch.rand(1, 1, 6, 5, generator=torch.Generator().manual_seed(1)) * 2 - 1).double()

    def matrix(count):
        """Weights of each small pixel in each large one, whose centres lie at (k + 0.5) / factor."""
        weights = np.zeros((count * factor, count))
        for row in range(count * factor):
            place = (row + 0.5) / factor - 0.5
            for number in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
                weights[row, min(max(number, 0), count - 1)] += keys(place - number)
        return weights

    expected = (matrix(6) @ small[0, 0].numpy() @ matrix(5).T).clip(-1, 1)
    np.testing.assert_allclose(reduction.enlarged(small)[0, 0].numpy(), expected, atol=1e-6)


def test_a_factor_that_leaves_pixels_over_is_refused():
    reduction = make_degradation({"kind": "reduction", "factor": 3})
    with pytest.raises(ValueError, match="16 x 15 pixels have no boxes of 3"):
        reduction.reduced(torch.zeros(1, 1, 16, 15))


def test_noise_is_not_cut_off_but_no_magnitude_is_negative():
    x0 = torch.cat([torch.full(SHAPE, -1.0), torch.full(SHAPE, 1.0)])
    gaussian, rician = (degraded(x0, kind, [0.04] * 4) for kind in ("gaussian", "rician"))
    assert gaussian.min() < -1.5 and gaussian.max() > 1.5
    assert rician.min() >= -1 and rician.max() > 1.5


@pytest.mark.parametrize("given", [{"kind": "reduction", "factor": 2}, NOISE])
def test_variances_come_in_turn(given):
    expected = [0.0] * 5 if given["kind"] == "reduction" else [0.25, 0.5, 0.25, 0.5, 0.25]
    assert make_degradation(given).in_turn(5).tolist() == expected


def test_nothing_is_given_where_nothing_is_said():
    assert make_degradation(None) is None
