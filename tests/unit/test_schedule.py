"""Noise schedules against their closed forms."""

import math

import pytest
import torch

from workflow_scripts.diffusion.schedule import (
    alpha_bars,
    betas_of,
    cosine_betas,
    linear_betas,
    shift_log_snr,
    sigmoid_betas,
    zero_terminal_snr,
)

SCHEDULES = {"linear": linear_betas, "cosine": cosine_betas, "sigmoid": sigmoid_betas}


def settings(**changes):
    return {
        "timesteps": 1000,
        "schedule": "cosine",
        "betas": None,
        "zero_terminal_snr": False,
        "resolution_shift": False,
    } | changes


def log_snr(alpha_bar):
    return alpha_bar.log() - (1 - alpha_bar).log()


@pytest.mark.parametrize("timesteps", [100, 300, 1000])
def test_linear_betas_reach_noise_at_every_length(timesteps):
    # Unscaled betas leave √ᾱ_T = 0.60 at T = 100 and 0.22 at T = 300.
    alpha_bar = alpha_bars(settings(schedule="linear", timesteps=timesteps), 64)
    assert alpha_bar[-1].sqrt() < 0.01
    betas = linear_betas(timesteps)
    assert betas.sum() == pytest.approx(1000 * (1e-4 + 0.02) / 2)
    assert betas[0] == pytest.approx(0.1 / timesteps)
    assert betas[-1] == pytest.approx(20 / timesteps)


def test_linear_betas_are_those_of_ddpm_at_1000_steps():
    alpha_bar = alpha_bars(settings(schedule="linear"), 64)
    assert alpha_bar[0] == pytest.approx(1 - 1e-4, rel=1e-12)
    assert alpha_bar[1] == pytest.approx((1 - 1e-4) * (1 - 1e-4 - 0.0199 / 999), rel=1e-12)
    # A product of evenly spaced factors: ∏ (a − k d) = d^T Γ(a/d + 1) / Γ(a/d − T + 1).
    a, d = 1 - 1e-4, 0.0199 / 999
    log = 1000 * math.log(d) + math.lgamma(a / d + 1) - math.lgamma(a / d - 999)
    assert alpha_bar[-1].log().item() == pytest.approx(log, rel=1e-9)
    assert alpha_bar[-1].sqrt().item() == pytest.approx(0.00635, abs=1e-5)


def test_cosine_alpha_bar_is_the_squared_cosine():
    alpha_bar = alpha_bars(settings(), 64)
    f = [math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(1001)]
    for t in (1, 2, 250, 500, 900, 999):
        assert alpha_bar[t - 1].item() == pytest.approx(f[t] / f[0], rel=1e-9)
    assert alpha_bar[-1] == pytest.approx(1e-3 * f[999] / f[0])  # the clipped beta


def test_sigmoid_alpha_bar_is_the_stretched_sigmoid():
    alpha_bar = alpha_bars(settings(schedule="sigmoid"), 64)

    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    for t in (1, 2, 250, 900, 999):
        expected = (sigmoid(3) - sigmoid(6 * t / 1000 - 3)) / (sigmoid(3) - sigmoid(-3))
        assert alpha_bar[t - 1].item() == pytest.approx(expected, rel=1e-9)
    assert alpha_bar[499] == pytest.approx(0.5)  # as much signal as noise half way


@pytest.mark.parametrize("timesteps", [10, 100, 1000])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_betas_are_probabilities_and_noise_only_grows(schedule, timesteps):
    betas = SCHEDULES[schedule](timesteps)
    assert betas.dtype == torch.float64
    assert betas.shape == (timesteps,)
    assert betas.min() > 0
    assert betas.max() <= 0.999
    torch.testing.assert_close(betas_of((1 - betas).cumprod(0)), betas)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("shifted", [False, True])
def test_zero_terminal_snr_ends_in_pure_noise_and_keeps_the_start(schedule, shifted):
    chosen = settings(schedule=schedule, resolution_shift=shifted)
    plain = alpha_bars(chosen, 256)
    zero = alpha_bars(chosen | {"zero_terminal_snr": True}, 256)
    assert zero[-1] == 0
    torch.testing.assert_close(zero[0], plain[0], rtol=1e-12, atol=0)
    assert (zero.diff() < 0).all()
    # Algorithm 1 of Lin et al. 2024: √ᾱ is mapped linearly.
    slope = zero.sqrt().diff() / plain.sqrt().diff()
    torch.testing.assert_close(slope, slope[:1].expand(999))


def test_zero_terminal_snr_changes_nothing_that_has_it():
    once = alpha_bars(settings(zero_terminal_snr=True), 64)
    torch.testing.assert_close(zero_terminal_snr(once), once, rtol=1e-12, atol=0)


@pytest.mark.parametrize("shift", [-2.8, -1.0, 1.5])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_shift_is_an_addition_in_log_snr(schedule, shift):
    alpha_bar = (1 - SCHEDULES[schedule](1000)).cumprod(0)
    shifted = log_snr(shift_log_snr(alpha_bar, shift))
    torch.testing.assert_close(shifted, log_snr(alpha_bar) + shift, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("size", "signal"), [(64, 1), (128, 1 / 4), (256, 1 / 16), (32, 4)])
def test_the_resolution_shift_keeps_the_snr_of_the_image_averaged_down_to_64(size, signal):
    # An average over (size / 64)² pixels has that many times the SNR.
    def snr(shift):
        alpha_bar = alpha_bars(settings(resolution_shift=shift), size)
        return alpha_bar / (1 - alpha_bar)

    torch.testing.assert_close(snr(True), snr(False) * signal, rtol=1e-9, atol=0)


def test_betas_of_the_user_are_taken_as_they_are():
    betas = [0.1, 0.2, 0.5, 0.9]
    alpha_bar = alpha_bars(settings(schedule="betas", timesteps=4, betas=betas), 64)
    expected = torch.tensor([0.9, 0.72, 0.36, 0.036], dtype=torch.float64)
    torch.testing.assert_close(alpha_bar, expected)
