"""Schedules and objectives against their closed forms."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.diffusion.objective import Objective, loss_weights
from workflow_scripts.diffusion.schedule import (
    alpha_bars,
    cosine_betas,
    linear_betas,
    make_betas,
    zero_terminal_snr,
)


def process(**changes):
    return {
        "timesteps": 1000,
        "schedule": "cosine",
        "zero_terminal_snr": True,
        "prediction": "v",
        "weighting": "min_snr",
        "min_snr_gamma": 5,
    } | changes


@pytest.mark.parametrize("timesteps", [100, 300, 1000])
def test_linear_betas_reach_noise_at_every_length(timesteps):
    # Unscaled betas leave √ᾱ_T = 0.60 at T = 100 and 0.22 at T = 300.
    terminal = alpha_bars(linear_betas(timesteps))[-1].sqrt()
    assert terminal < 0.01


def test_linear_betas_are_those_of_ddpm_at_1000_steps():
    betas = linear_betas(1000)
    assert betas[0] == pytest.approx(1e-4)
    assert betas[-1] == pytest.approx(0.02)
    assert alpha_bars(betas)[-1].sqrt() == pytest.approx(0.00635, abs=1e-5)


def test_cosine_alpha_bar_is_the_squared_cosine():
    alpha_bar = alpha_bars(cosine_betas(1000))
    f = [math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(1001)]
    for t in (1, 250, 500, 900):
        assert alpha_bar[t - 1].item() == pytest.approx(f[t] / f[0], rel=1e-9)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_zero_terminal_snr_ends_in_pure_noise_and_keeps_the_start(schedule):
    plain = alpha_bars(make_betas(schedule, 1000, False))
    zero = alpha_bars(zero_terminal_snr(make_betas(schedule, 1000, False)))
    assert zero[-1] == 0
    assert zero[0] == pytest.approx(plain[0])
    assert (zero.diff() < 0).all()


def test_min_snr_weights_are_those_of_the_paper():
    alpha_bar = torch.tensor([0.99, 0.9, 0.5, 0.1, 0.0], dtype=torch.float64)
    snr = alpha_bar / (1 - alpha_bar)
    v = loss_weights(alpha_bar, "v", "min_snr", 5)
    torch.testing.assert_close(v, (torch.minimum(snr, torch.tensor(5.0)) / (snr + 1)).float())
    epsilon = loss_weights(alpha_bar[:4], "epsilon", "min_snr", 5)
    torch.testing.assert_close(epsilon, (snr[:4].clamp(max=5) / snr[:4]).float())
    assert (loss_weights(alpha_bar, "v", "none", 5) == 1).all()


@given(st.sampled_from(["epsilon", "sample", "v"]), st.integers(0, 998), st.integers(0, 2**31))
def test_the_clean_image_is_recovered_from_every_target(prediction, t, seed):
    objective = Objective(process(prediction=prediction))
    stream = torch.Generator().manual_seed(seed)
    x0 = torch.rand((2, 1, 4, 4), generator=stream) * 2 - 1
    eps = torch.randn((2, 1, 4, 4), generator=stream)
    t = torch.tensor([t, t])
    x_t = objective.noisy(x0, eps, t)
    output = objective.target(x0, eps, t)
    a, b = objective.coefficients(t)
    recovered = {"epsilon": (x_t - b * output) / a, "sample": output, "v": a * x_t - b * output}[
        prediction
    ]
    # x_0 from ε divides by √ᾱ, which is 1.6e-3 at t = 998.
    torch.testing.assert_close(recovered, x0, atol=2e-3, rtol=0)


def test_loss_is_zero_at_the_target_and_the_weight_at_unit_error():
    objective = Objective(process())
    x0, eps = torch.zeros(2, 1, 4, 4), torch.randn(2, 1, 4, 4)
    t = torch.tensor([3, 700])
    target = objective.target(x0, eps, t)
    assert (objective.loss(target, x0, eps, t) == 0).all()
    torch.testing.assert_close(objective.loss(target + 1, x0, eps, t), objective.weight[t])
