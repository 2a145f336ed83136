"""Processes against the formulas of their papers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from workflow_scripts.diffusion.process import Level, make_process
from workflow_scripts.diffusion.schedule import alpha_bars

PREDICTIONS = ["epsilon", "sample", "v"]
SIGMA_DATA = 0.3
DDPM = {
    "process": "ddpm",
    "loss": "l2",
    "timesteps": 1000,
    "schedule": "cosine",
    "betas": None,
    "zero_terminal_snr": True,
    "resolution_shift": False,
    "prediction": "v",
    "weighting": "none",
    "min_snr_gamma": 5,
}
VP_SDE = {
    "process": "vp_sde",
    "loss": "l2",
    "resolution_shift": False,
    "prediction": "epsilon",
    "weighting": "none",
    "min_snr_gamma": 5,
}
EDM = {"process": "edm", "loss": "l2", "p_mean": -1.2, "p_std": 1.2}
SETTINGS = {
    "ddpm": DDPM,
    "ddpm of finite SNR": DDPM | {"zero_terminal_snr": False},
    "ddpm shifted": DDPM | {"schedule": "linear", "timesteps": 300, "resolution_shift": True},
    "vp_sde": VP_SDE,
    "vp_sde shifted": VP_SDE | {"resolution_shift": True},
    "edm": EDM,
}
PROCESSES = {name: make_process(settings, 128, SIGMA_DATA) for name, settings in SETTINGS.items()}
PRESERVING = [name for name in SETTINGS if name != "edm"]


def process(settings, size=64):
    return make_process(settings, size, SIGMA_DATA)


def images(count=2, seed=0):
    """Return clean images and noise."""
    stream = torch.Generator().manual_seed(seed)
    shape = (count, 1, 4, 4)
    return torch.rand(shape, generator=stream) * 2 - 1, torch.randn(shape, generator=stream)


def squared(error):
    return (error**2).mean(dim=(1, 2, 3))


def training_times(chosen, count=1000):
    return chosen.levels((torch.arange(count) + 0.5) / count)


# Levels


@pytest.mark.parametrize("name", SETTINGS)
def test_levels_are_the_marginals_of_training(name):
    chosen = PROCESSES[name]
    t = training_times(chosen, 50)
    alpha, sigma = chosen.marginal(t)
    assert alpha.shape == sigma.shape == (50, 1, 1, 1)
    assert alpha.dtype == sigma.dtype == torch.float32
    levels = [chosen.level(time) for time in t.tolist()]
    expected = torch.tensor([(level.alpha, level.sigma) for level in levels])
    torch.testing.assert_close(torch.stack([alpha, sigma], 1).view(50, 2), expected)


@pytest.mark.parametrize("name", PRESERVING)
def test_variance_is_preserved(name):
    chosen = PROCESSES[name]
    alpha, sigma = chosen.marginal(training_times(chosen))
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(alpha))


def test_ddpm_levels_are_those_of_its_schedule():
    alpha_bar = alpha_bars(DDPM, 64)
    for t in (0, 1, 500, 998, 999):
        level = process(DDPM).level(float(t))
        assert level.alpha == pytest.approx(alpha_bar[t].sqrt().item(), rel=1e-9)
        assert level.sigma == pytest.approx((1 - alpha_bar[t]).sqrt().item(), rel=1e-9)
        assert level.t == t


@given(st.floats(0, 997.5))
def test_log_snr_is_linear_between_time_steps(t):
    chosen = process(DDPM)
    below, above = chosen.level(math.floor(t)).ratio, chosen.level(math.floor(t) + 1).ratio
    part = t - math.floor(t)
    assert math.log(chosen.level(t).ratio) == pytest.approx(
        (1 - part) * math.log(below) + part * math.log(above)
    )


def test_the_last_level_of_zero_terminal_snr_is_pure_noise():
    level = process(DDPM).level(999.0)
    assert level == Level(999.0, 0.0, 1.0)
    assert level.ratio == math.inf
    assert process(DDPM).level_at(math.inf) == level
    alpha, sigma = process(DDPM).marginal(torch.tensor([999]))
    assert (alpha.item(), sigma.item()) == (0, 1)


@given(st.sampled_from(list(SETTINGS)), st.floats(0, 1))
def test_levels_are_found_by_their_ratio(name, part):
    chosen = PROCESSES[name]
    low, high = chosen.sigma_range
    ratio = low * (high / low) ** part
    level = chosen.level_at(ratio)
    assert level.ratio == pytest.approx(ratio, rel=1e-12)
    # Near pure noise t of vp_sde is close to 1, where its own rounding moves the ratio.
    assert chosen.level(level.t).ratio == pytest.approx(ratio, rel=1e-9)
    if name != "edm":
        assert level.alpha**2 + level.sigma**2 == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("ddpm", (0, 998)),
        ("ddpm of finite SNR", (0, 999)),
        ("ddpm shifted", (0, 298)),
        ("vp_sde", (0, 1)),
        ("vp_sde shifted", (0, 1)),
    ],
)
def test_a_level_beyond_the_range_keeps_its_ratio_and_gets_the_nearest_time(name, ends):
    chosen = PROCESSES[name]
    low, high = chosen.sigma_range
    assert chosen.level_at(low).t == pytest.approx(ends[0], abs=1e-9)
    assert chosen.level_at(high).t == pytest.approx(ends[1], abs=1e-9)
    assert chosen.level_at(low / 2).t == ends[0]
    assert chosen.level_at(high * 2).t == ends[1]
    assert chosen.level_at(high * 2).ratio == pytest.approx(high * 2)


def test_vp_sde_follows_the_cosine_of_its_paper():
    chosen = process(VP_SDE)
    # λ(t) = −2 log tan(a t + b) with λ(0) = 15, λ(1) = −15; λ(1/2) = 0 by symmetry.
    b = math.atan(math.exp(-7.5))
    a = math.atan(math.exp(7.5)) - b
    for t in (0.0, 0.01, 0.5, 0.7, 1.0):
        log_snr = -2 * math.log(math.tan(a * t + b))
        level = chosen.level(t)
        assert -2 * math.log(level.ratio) == pytest.approx(log_snr, abs=1e-9)
        assert level.alpha == pytest.approx(math.cos(a * t + b), rel=1e-9)
        assert level.sigma == pytest.approx(math.sin(a * t + b), rel=1e-9)
    assert chosen.sigma_range == pytest.approx((math.exp(-7.5), math.exp(7.5)))
    assert chosen.level(0.5).ratio == pytest.approx(1)


@pytest.mark.parametrize(
    ("settings", "last"), [(DDPM | {"zero_terminal_snr": False}, 999), (VP_SDE, 1)]
)
def test_the_resolution_shift_multiplies_the_ratio(settings, last):
    plain = process(settings, 256)
    shifted = process(settings | {"resolution_shift": True}, 256)
    for part in (0.1, 0.5, 0.9):
        t = part * last
        assert shifted.level(t).ratio == pytest.approx(4 * plain.level(t).ratio, rel=1e-9)


# What training draws


@pytest.mark.parametrize("timesteps", [3, 300, 513, 1000])
def test_ddpm_draws_every_time_step_as_often(timesteps):
    chosen = process(DDPM | {"timesteps": timesteps})
    t = training_times(chosen, 4 * timesteps)
    assert t.dtype == torch.int64
    assert (t.bincount() == 4).all()
    nearly_one = torch.nextafter(torch.tensor([1.0]), torch.tensor([0.0]))
    assert chosen.levels(nearly_one) == timesteps - 1


def test_vp_sde_draws_times_evenly():
    u = torch.tensor([0.0, 0.25, 0.9])
    torch.testing.assert_close(process(VP_SDE).levels(u), u)


@pytest.mark.parametrize(("mean", "std"), [(-1.2, 1.2), (-0.4, 1.0)])
def test_edm_draws_log_normal_noise(mean, std):
    chosen = process(EDM | {"p_mean": mean, "p_std": std})
    u = torch.tensor([0.001, 0.1, 0.5, 0.8, 0.999], dtype=torch.float64)
    sigma = chosen.levels(u)
    assert sigma.dtype == torch.float32
    np.testing.assert_allclose(sigma, np.exp(norm.ppf(u, mean, std)), rtol=1e-6)
    ends = chosen.levels(torch.tensor([0.0, 1.0]))
    assert ends.isfinite().all()
    assert (ends > 0).all()


# Conversions


@given(
    st.sampled_from(["ddpm", "vp_sde"]),
    st.sampled_from(PREDICTIONS),
    st.floats(0, 0.99),
    st.integers(0, 2**31),
)
def test_the_clean_image_is_recovered_from_every_target(name, prediction, u, seed):
    chosen = process(SETTINGS[name] | {"prediction": prediction})
    assert_recovered(chosen, u, seed)


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 2**31))
def test_the_clean_image_is_recovered_from_edms_target(u, seed):
    assert_recovered(process(EDM), u, seed)


def assert_recovered(chosen, u, seed):
    """x_0 = c_skip x_t + c_out F, as tensors and as the numbers of the level."""
    x0, eps = images(seed=seed)
    t = chosen.levels(torch.tensor([u, u]))
    x_t, output = chosen.noisy(x0, eps, t), chosen.target(x0, eps, t)
    level = chosen.level(t[0].item())
    for alpha, sigma in (chosen.marginal(t), (level.alpha, level.sigma)):
        c_skip, c_out, _ = chosen.scalings(alpha, sigma)
        # Rounding of x_t, about 1e-7 σ, is divided by α where ε is predicted.
        tolerance = 2e-6 * max(1, level.ratio)
        torch.testing.assert_close(c_skip * x_t + c_out * output, x0, atol=tolerance, rtol=0)


@pytest.mark.parametrize("prediction", ["sample", "v", "epsilon", "edm"])
@pytest.mark.parametrize("u", [0.02, 0.5, 0.97])
def test_what_is_given_is_a_first_guess_that_the_network_completes(prediction, u):
    """Of x_0 − y the network says what it otherwise says of x_0, and x_0 is recovered all the same."""
    edm = prediction == "edm"
    chosen = process(EDM) if edm else process(SETTINGS["ddpm"] | {"prediction": prediction})
    x0, eps = images(2)
    y = x0 + 0.3 * eps.flip(0)
    t = chosen.levels(torch.tensor([u, u]))
    level = chosen.level(t[0].item())
    x_t, output = chosen.noisy(x0, eps, t), chosen.target(x0 - y, eps, t)
    assert (chosen.loss(output, x0, eps, t, y) == 0).all()
    said = chosen.denoise(lambda x, t, c: output, x_t.float(), level, torch.zeros(2, 1), y)
    torch.testing.assert_close(said, x0, atol=1e-5 * max(1, level.ratio), rtol=0, check_dtype=False)


@pytest.mark.parametrize("prediction", ["sample", "v"])
def test_in_pure_noise_a_network_that_says_nothing_gives_back_what_it_is_given(prediction):
    chosen = process(SETTINGS["ddpm"] | {"prediction": prediction, "zero_terminal_snr": True})
    x, y = images(2)
    said = chosen.denoise(
        lambda x, t, c: torch.zeros_like(x), x, chosen.level(999.0), torch.zeros(2, 1), y
    )
    assert torch.equal(said, y)


@pytest.mark.parametrize("name", ["ddpm", "vp_sde"])
def test_targets_are_those_of_their_papers(name):
    x0, eps = images(3)
    t = PROCESSES[name].levels(torch.tensor([0.1, 0.5, 0.9]))
    alpha, sigma = PROCESSES[name].marginal(t)
    v = alpha * eps - sigma * x0
    for prediction, expected in zip(PREDICTIONS, [eps, x0, v], strict=True):
        chosen = make_process(SETTINGS[name] | {"prediction": prediction}, 128, SIGMA_DATA)
        torch.testing.assert_close(chosen.target(x0, eps, t), expected)


@pytest.mark.parametrize(("prediction", "sign"), [("v", -1), ("sample", 1)])
def test_v_and_x0_are_learnt_from_pure_noise(prediction, sign):
    x0, eps = images()
    t = torch.tensor([999, 999])
    chosen = process(DDPM | {"prediction": prediction})
    torch.testing.assert_close(chosen.noisy(x0, eps, t), eps)
    torch.testing.assert_close(chosen.target(x0, eps, t), sign * x0)
    output = (sign * x0).requires_grad_()
    losses = chosen.loss(output + 0.5, x0, eps, t)
    torch.testing.assert_close(losses, torch.full((2,), 0.25))
    [slope] = torch.autograd.grad(losses.sum(), output)
    torch.testing.assert_close(slope, torch.full_like(slope, 1 / 16))
    # And x_0 is what is said, with nothing of the noise.
    said = chosen.denoise(lambda x, t, c: sign * x0, eps, chosen.level(999.0), torch.zeros(2, 1))
    torch.testing.assert_close(said, x0)


# EDM


@pytest.mark.parametrize("sigma", [0.002, 0.1, SIGMA_DATA, 1.0, 80.0])
def test_edm_scales_as_table_1_says(sigma):
    c_skip, c_out, c_in = process(EDM).scalings(1.0, sigma)
    total = sigma**2 + SIGMA_DATA**2
    assert c_skip == pytest.approx(SIGMA_DATA**2 / total)
    assert c_out == pytest.approx(sigma * SIGMA_DATA / math.sqrt(total))
    assert c_in == pytest.approx(1 / math.sqrt(total))
    t = torch.tensor([sigma])
    assert process(EDM).network_time(t) == pytest.approx(math.log(sigma) / 4)
    torch.testing.assert_close(
        process(EDM).network_input(torch.ones(1, 1, 2, 2), t)[0, 0, 0, 0], torch.tensor(c_in)
    )


def test_edms_loss_is_the_weighted_error_of_its_denoiser():
    chosen = process(EDM)
    x0, eps = images(40)
    sigma = training_times(chosen, 40)
    x_t = chosen.noisy(x0, eps, sigma)
    output = torch.randn(x0.shape, generator=torch.Generator().manual_seed(1))
    s = sigma.view(-1, 1, 1, 1)
    c_skip, c_out, _ = chosen.scalings(1.0, s)
    denoised = c_skip * x_t + c_out * output
    weight = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2
    torch.testing.assert_close(weight * c_out.flatten() ** 2, torch.ones(40))
    expected = weight * squared(denoised - x0)
    torch.testing.assert_close(chosen.loss(output, x0, eps, sigma), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("sigma", [0.002, 0.3, 80.0])
def test_edm_gives_the_network_unit_variance(sigma):
    chosen = process(EDM)
    stream = torch.Generator().manual_seed(0)
    x0, eps = torch.randn((2, 1, 1, 400, 400), generator=stream)
    x0 = SIGMA_DATA * x0
    t = torch.tensor([sigma])
    assert chosen.network_input(chosen.noisy(x0, eps, t), t).std() == pytest.approx(1, abs=0.01)
    assert chosen.target(x0, eps, t).std() == pytest.approx(1, abs=0.01)


# Losses and weights


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_min_snr_weights_are_those_of_the_paper(prediction):
    # The last level, of no signal, has no ε to predict.
    settings = DDPM | {"prediction": prediction, "zero_terminal_snr": prediction != "epsilon"}
    snr = alpha_bars(settings, 64) / (1 - alpha_bars(settings, 64))
    least = snr.clamp(max=5)
    expected = {"epsilon": least / snr, "sample": least, "v": least / (snr + 1)}[prediction]
    chosen = process(settings | {"weighting": "min_snr"})
    torch.testing.assert_close(
        chosen.weight(torch.arange(1000)), expected.float(), rtol=1e-4, atol=1e-7
    )


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_min_snr_weighs_the_error_of_the_clean_image(prediction):
    chosen = process(VP_SDE | {"prediction": prediction, "weighting": "min_snr"})
    x0, eps = images(3)
    t = torch.tensor([0.2, 0.5, 0.8])
    alpha, sigma = chosen.marginal(t)
    output = chosen.target(x0, eps, t) + 0.1 * eps
    c_skip, c_out, _ = chosen.scalings(alpha, sigma)
    error = squared(c_skip * chosen.noisy(x0, eps, t) + c_out * output - x0)
    snr = ((alpha / sigma) ** 2).flatten()
    torch.testing.assert_close(chosen.loss(output, x0, eps, t), snr.clamp(max=5) * error)


@pytest.mark.parametrize("name", SETTINGS)
def test_loss_is_nothing_at_the_target_and_of_each_image_alone(name):
    chosen = PROCESSES[name]
    x0, eps = images(5)
    t = training_times(chosen, 5)
    target = chosen.target(x0, eps, t)
    assert (chosen.loss(target, x0, eps, t) == 0).all()
    error = torch.tensor([0.0, 0, 1, 0, 0]).view(5, 1, 1, 1)
    losses = chosen.loss(target + error, x0, eps, t)
    assert losses.dtype == torch.float32
    assert losses.tolist() == pytest.approx([0, 0, 1, 0, 0], abs=1e-6)


def test_vp_sdes_loss_is_score_matching():
    chosen = process(VP_SDE)
    x0, eps = images(4)
    t = torch.tensor([0.05, 0.3, 0.6, 0.95])
    _, sigma = chosen.marginal(t)
    score = torch.randn(x0.shape, generator=torch.Generator().manual_seed(2)) / sigma
    # The score of x_t given x_0 is −ε/σ (Song et al. 2021), and the network says −σ s.
    expected = sigma.flatten() ** 2 * squared(score + eps / sigma)
    torch.testing.assert_close(chosen.loss(-sigma * score, x0, eps, t), expected)


@pytest.mark.parametrize("settings", [DDPM, VP_SDE, EDM])
@pytest.mark.parametrize(
    ("loss", "error"),
    [
        ("l2", lambda d: d**2),
        ("l1", lambda d: d.abs()),
        ("huber", lambda d: torch.where(d.abs() < 1, d**2 / 2, d.abs() - 0.5)),
    ],
)
def test_losses_of_the_networks_error(settings, loss, error):
    chosen = process(settings | {"loss": loss})
    x0, eps = images(8)
    t = training_times(chosen, 8)
    output = chosen.target(x0, eps, t) + 2 * eps
    torch.testing.assert_close(chosen.loss(output, x0, eps, t), error(2 * eps).mean((1, 2, 3)))


@pytest.mark.parametrize("loss", ["l2", "l1", "huber"])
def test_losses_are_computed_in_float32(loss):
    chosen = process(DDPM | {"loss": loss})
    x0, eps = images()
    t = torch.tensor([10, 400])
    output = x0.bfloat16()
    losses = chosen.loss(output, x0, eps, t)
    assert losses.dtype == torch.float32
    assert (losses == chosen.loss(output.float(), x0, eps, t)).all()


# The network's time


@pytest.mark.parametrize(
    ("name", "t", "expected"),
    [("ddpm", 10.25, 10.25), ("vp_sde", 0.25, 250), ("edm", math.e, 0.25)],
)
def test_time_of_network(name, t, expected):
    assert PROCESSES[name].time_of_network(t) == pytest.approx(expected)
    batch = PROCESSES[name].network_time(torch.tensor([t, t]))
    assert batch.dtype == torch.float32
    assert batch.tolist() == pytest.approx([expected, expected])


# Speed


@pytest.mark.parametrize("settings", [DDPM | {"weighting": "min_snr"}, VP_SDE, EDM])
def test_a_training_step_reads_no_value_back(settings):
    # On the device `meta` tensors have no values: to wait for one is an error.
    chosen = make_process(settings, 64, SIGMA_DATA, "meta")
    x0, eps = (draw.to("meta") for draw in images())
    t = chosen.levels(torch.empty(2, device="meta"))
    x = chosen.network_input(chosen.noisy(x0, eps, t), t)
    assert chosen.network_time(t).shape == (2,)
    assert chosen.loss(x, x0, eps, t).device.type == "meta"
