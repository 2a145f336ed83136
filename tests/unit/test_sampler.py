"""Samplers against the exact solution for Gaussian images, and image k against its company."""

import numpy as np
import pytest
import torch
from torch import nn

from workflow_scripts.common.pixels import to_uint8
from workflow_scripts.diffusion.network import build_denoiser
from workflow_scripts.diffusion.objective import Objective
from workflow_scripts.diffusion.sampler import guided, trajectory

MEAN, SD = 0.1, 0.2
PROCESS = {
    "timesteps": 1000,
    "schedule": "cosine",
    "zero_terminal_snr": True,
    "prediction": "v",
    "weighting": "none",
    "min_snr_gamma": 5,
}
NETWORK = {
    "patch_size": 2,
    "channels": [8, 16],
    "layers_per_block": 1,
    "attention_levels": [1],
    "dropout": 0.1,
}


def sampler(method, steps, guidance=1.0):
    return {"method": method, "steps": steps, "guidance": guidance}


class ExactGaussian(nn.Module):
    """The best possible network where every pixel is drawn from N(MEAN, SD²)."""

    image_size, null_class = 8, 6

    def __init__(self, process):
        super().__init__()
        self.objective = Objective(process)
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, x, t, classes):
        a, b = self.objective.coefficients(t)
        x0 = MEAN + a * SD**2 / (a**2 * SD**2 + b**2) * (x - a * MEAN)
        return self.objective.target(x0, (x - a * x0) / b, t)


def final(denoiser, classes, seeds, settings, process=PROCESS):
    *_, x = trajectory(denoiser, torch.tensor(classes), seeds, settings, process)
    return x


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v"])
@pytest.mark.parametrize(
    ("method", "steps", "tolerance"),
    [("ddim", 200, 2e-2), ("ddim", 300, 2e-2), ("dpm++2m", 100, 2e-3), ("dpm++2m", 150, 2e-3)],
)
def test_deterministic_samplers_follow_the_exact_flow(method, steps, tolerance, prediction):
    process = PROCESS | {"prediction": prediction, "zero_terminal_snr": prediction != "epsilon"}
    exact = ExactGaussian(process)
    start = next(trajectory(exact, torch.zeros(8).long(), range(8), sampler(method, 1), process))
    x = final(exact, [0] * 8, range(8), sampler(method, steps), process)
    # The probability flow of a Gaussian is linear: x_0 = μ + σ x_T where ᾱ_T = 0.
    assert (x - (MEAN + SD * start)).abs().max() < tolerance


@pytest.mark.parametrize(("method", "order"), [("ddim", 1), ("dpm++2m", 2)])
def test_the_error_falls_with_the_order_of_the_method(method, order):
    exact = ExactGaussian(PROCESS)
    start = next(trajectory(exact, torch.zeros(8).long(), range(8), sampler(method, 1), PROCESS))

    def error(steps):
        x = final(exact, [0] * 8, range(8), sampler(method, steps))
        return (x - (MEAN + SD * start)).abs().mean().item()

    assert error(10) / error(40) > 0.75 * 4**order


@pytest.mark.parametrize("steps", [1000, 300])
def test_ancestral_sampling_has_the_right_mean_and_spread(steps):
    x = final(ExactGaussian(PROCESS), [0] * 16, range(16), sampler("ddpm", steps))
    assert x.mean().item() == pytest.approx(MEAN, abs=4 * SD / 32)
    assert x.std().item() == pytest.approx(SD, rel=0.1)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    denoiser = build_denoiser(NETWORK, image_size=16, classes=3).eval()
    for parameter in denoiser.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return denoiser


@pytest.mark.parametrize("method", ["ddpm", "ddim", "dpm++2m"])
def test_an_image_depends_on_its_seed_and_class_alone(network, method):
    classes, seeds = [k % 3 for k in range(32)], list(range(100, 132))
    results = []
    for size in (1, 7, 16):
        parts = [
            final(network, classes[i : i + size], seeds[i : i + size], sampler(method, 4, 1.5))
            for i in range(0, 32, size)
        ]
        results.append(torch.cat(parts))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    assert not torch.equal(results[0][0], results[0][3])  # another seed, same class


def test_guidance_weight_one_is_the_conditional_model_and_zero_the_unconditional(network):
    x, classes = torch.randn(4, 1, 16, 16), torch.tensor([0, 1, 2, 0])
    t = torch.tensor(500)
    with torch.inference_mode():
        conditional = network(x, t.expand(4), classes)
        null = network(x, t.expand(4), torch.full((4,), network.null_class))
        torch.testing.assert_close(guided(network, x, t, classes, 1), conditional)
        torch.testing.assert_close(guided(network, x, t, classes, 0), null, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(
            guided(network, x, t, classes, 2), 2 * conditional - null, atol=1e-5, rtol=1e-4
        )
    assert not torch.allclose(conditional, null)


def test_quantisation_covers_the_range_and_clips():
    x = torch.tensor([-1.2, -1.0, 0.0, 1.0, 3.0]).view(5, 1, 1, 1)
    assert to_uint8(x).ravel().tolist() == [0, 0, 128, 255, 255]
    assert to_uint8(x).dtype == np.uint8
