"""Solvers against the exact flow of a Gaussian, against diffusers, and against the papers."""

import math

import pytest
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler
from diffusers.schedulers import scheduling_ddpm
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.diffusion.grid import grid
from workflow_scripts.diffusion.noise import noise
from workflow_scripts.diffusion.process import Level, make_process
from workflow_scripts.diffusion.schedule import cosine_betas
from workflow_scripts.diffusion.solvers import flow, posterior, solve

MEAN, SD = 0.1, 0.2
VP = {"loss": "l2", "resolution_shift": False, "weighting": "none", "min_snr_gamma": 5}
DDPM = {"process": "ddpm", "timesteps": 1000, "schedule": "cosine", "betas": None} | VP
PROCESSES = {
    "zero terminal SNR": DDPM | {"zero_terminal_snr": True, "prediction": "v"},
    "cosine": DDPM | {"zero_terminal_snr": False, "prediction": "epsilon"},
    "linear": DDPM | {"zero_terminal_snr": False, "prediction": "v", "schedule": "linear"},
    "vp_sde": {"process": "vp_sde", "prediction": "epsilon"} | VP,
    "edm": {"process": "edm", "loss": "l2", "p_mean": -1.2, "p_std": 1.2},
}
METHODS = ["ddpm", "ddim", "dpm++2m", "dpm++2m_sde", "unipc", "heun", "edm"]
SEEDS, SHAPE = torch.arange(8), (1, 8, 8)


@pytest.fixture(params=PROCESSES)
def process(request):
    return make_process(PROCESSES[request.param], image_size=64, sigma_data=0.5)


def exact(x, level):
    """What the best network says where every pixel is drawn from N(MEAN, SD²)."""
    alpha, sigma = level.alpha, level.sigma
    gain = alpha * SD**2 / (alpha**2 * SD**2 + sigma**2)
    return MEAN + gain * (x - alpha * MEAN)


def curved(x, level):
    """A denoiser of which nothing is linear."""
    return torch.sin(3 * exact(x, level)) + 0.1 * torch.cos(x)


def exact_flow(x, s, t):
    """Follow the probability flow: x_t keeps its distance to the mean in standard deviations."""
    spread = [math.hypot(level.alpha * SD, level.sigma) for level in (s, t)]
    return t.alpha * MEAN + spread[1] / spread[0] * (x - s.alpha * MEAN)


def draws(step):
    return noise(SEEDS, 1 + step, SHAPE).double()


def start(levels):
    return levels[0].sigma * noise(SEEDS, 0, SHAPE).double()


def path(method, levels, denoise=exact, x=None, z=draws, process=None, churn=0.0):
    x = start(levels) if x is None else x
    level_at = process.level_at if process else None
    return list(solve(method, denoise, x, levels, z, level_at, churn))


# The deterministic ones


@pytest.mark.parametrize(
    ("method", "order"), [("ddim", 1), ("dpm++2m", 2), ("heun", 2), ("unipc", 3)]
)
def test_the_error_falls_with_the_order_of_the_method(process, method, order):
    def error(steps):
        levels = grid(process, steps, "log_snr")
        arrived = exact_flow(start(levels), levels[0], levels[-1])
        return (path(method, levels)[-1] - exact(arrived, levels[-1])).abs().max().item()

    measured = math.log2(error(50) / error(100))
    assert order - 0.15 < measured < order + 0.3


@pytest.mark.parametrize(
    ("method", "tolerance"), [("ddim", 0.06), ("dpm++2m", 0.01), ("unipc", 0.01), ("heun", 0.02)]
)
def test_nothing_is_lost_where_sampling_starts_in_pure_noise(method, tolerance):
    process = make_process(PROCESSES["zero terminal SNR"], image_size=64, sigma_data=0.5)
    levels = grid(process, 50, "trailing")
    assert levels[0].alpha == 0
    # From x_T = ε, in which nothing is left of the image, the flow leads to mean + sd ε.
    expected = MEAN + SD * start(levels)
    assert (path(method, levels)[-1] - expected).abs().mean() < tolerance * SD


# The stochastic ones


def mean_and_spread(method, levels, process, churn=40.0):
    """Return the exact moments of what comes out for a Gaussian, without a random number.

    The result is linear in the noise of every step. Image k is therefore sent through with 1 for
    the k-th noise and 0 for all others, and the last image with 0 for all.
    """
    count = len(levels) + 1
    one = torch.cat([torch.eye(count), torch.zeros(count, 1)], dim=1).double().view(count, -1, 1, 1)
    x, z = levels[0].sigma * one[0].unsqueeze(1), lambda step: one[1 + step].unsqueeze(1)
    response = path(method, levels, x=x, z=z, process=process, churn=churn)[-1].flatten()
    mean = response[-1].item()
    return mean, (response - mean).norm().item()


@pytest.mark.parametrize(
    ("method", "at_40", "at_160"),
    [("ddpm", 0.17, 0.05), ("dpm++2m_sde", 0.04, 0.003), ("edm", 0.06, 0.01)],
)
def test_stochastic_solvers_reach_the_mean_and_the_spread(process, method, at_40, at_160):
    for steps, tolerance in ((40, at_40), (160, at_160)):
        mean, spread = mean_and_spread(method, grid(process, steps, "log_snr"), process)
        assert mean == pytest.approx(MEAN, abs=1e-3 * SD)
        assert spread == pytest.approx(SD, rel=tolerance)


def test_a_thousand_ancestral_steps_in_discrete_time():
    process = make_process(PROCESSES["zero terminal SNR"], image_size=64, sigma_data=0.5)
    mean, spread = mean_and_spread("ddpm", grid(process, 1000, "trailing"), process)
    assert mean == pytest.approx(MEAN, abs=1e-6)
    assert spread == pytest.approx(SD, rel=0.02)


def test_drawn_noise_does_what_the_exact_moments_say(process):
    levels = grid(process, 10, "log_snr")
    mean, spread = mean_and_spread("dpm++2m_sde", levels, process)
    seeds = torch.arange(64)
    x = levels[0].sigma * noise(seeds, 0, (1, 16, 16))
    x = path("dpm++2m_sde", levels, x=x, z=lambda i: noise(seeds, 1 + i, (1, 16, 16)))[-1]
    assert x.mean().item() == pytest.approx(mean, abs=4 * spread / 128)
    assert x.std().item() == pytest.approx(spread, rel=4 / 128 / math.sqrt(2))


def test_fresh_noise_never_leads_beyond_the_start():
    process = make_process(PROCESSES["edm"], image_size=64, sigma_data=0.5)
    levels, said = grid(process, 8, sigma_max=10.0), []

    def denoise(x, level):
        said.append(level.ratio)
        return exact(x, level)

    path("edm", levels, denoise=denoise, process=process, churn=40.0)
    assert max(said) == pytest.approx(10.0)
    assert said[2] > levels[1].ratio  # where there is room, noise is added


def test_ancestral_sampling_clips_what_no_image_can_be(process):
    levels = grid(process, 5, "log_snr")
    last = path("ddpm", levels, denoise=lambda x, level: 3 * torch.ones_like(x))[-1]
    assert (last == 1).all()


# The papers, and those who implemented them before


def textbook_edm(x, sigmas, z, churn):
    """Algorithm 2 of Karras et al. 2022, line by line, for s(t) = 1 and σ(t) = t."""
    t = [*sigmas, 0.0]
    n = len(sigmas)
    for i in range(n):
        gamma = min(churn / n, math.sqrt(2) - 1) if 0.05 <= t[i] <= 50 else 0
        eps = 1.003 * z(i)
        t_hat = t[i] + gamma * t[i]
        x_hat = x + math.sqrt(t_hat**2 - t[i] ** 2) * eps
        d = (x_hat - curved(x_hat, Level(t_hat, 1.0, t_hat))) / t_hat
        x = x_hat + (t[i + 1] - t_hat) * d
        if t[i + 1] != 0:
            d_prime = (x - curved(x, Level(t[i + 1], 1.0, t[i + 1]))) / t[i + 1]
            x = x_hat + (t[i + 1] - t_hat) * (d / 2 + d_prime / 2)
    return x


@pytest.mark.parametrize(
    ("method", "churn"), [("heun", 0.0), ("edm", 0.0), ("edm", 3.0), ("edm", 40.0)]
)
def test_heun_and_edm_are_the_paper_s(method, churn):
    process = make_process(PROCESSES["edm"], image_size=64, sigma_data=0.5)
    levels = grid(process, 18)
    expected = textbook_edm(start(levels), [level.sigma for level in levels], draws, churn)
    last = path(method, levels, denoise=curved, process=process, churn=churn)[-1]
    torch.testing.assert_close(last, expected, rtol=1e-9, atol=1e-9)


BETAS = cosine_betas(1000)[:990].numpy()
PLAN = {
    "num_train_timesteps": 990,
    "trained_betas": BETAS,
    "prediction_type": "sample",
    "timestep_spacing": "trailing",
}
MULTISTEP = PLAN | {"final_sigmas_type": "zero"}
PEERS = {
    "ddpm": lambda: DDPMScheduler(**PLAN, variance_type="fixed_small", clip_sample=True),
    # diffusers' own DDIM ends before t = 0 where the steps do not divide the time steps.
    "ddim": lambda: DPMSolverMultistepScheduler(**MULTISTEP, solver_order=1),
    "dpm++2m": lambda: DPMSolverMultistepScheduler(**MULTISTEP, solver_order=2),
    "dpm++2m_sde": lambda: DPMSolverMultistepScheduler(
        **MULTISTEP, solver_order=2, algorithm_type="sde-dpmsolver++"
    ),
    "unipc": lambda: UniPCMultistepScheduler(**MULTISTEP, solver_order=2, solver_type="bh2"),
}


@pytest.mark.parametrize("steps", [1, 2, 12, 33])
@pytest.mark.parametrize("method", PEERS)
def test_diffusers_goes_the_same_way(monkeypatch, method, steps):
    peer = PEERS[method]()
    peer.set_timesteps(steps)
    alpha_bar = peer.alphas_cumprod.double()
    levels = [
        Level(t, math.sqrt(alpha_bar[t]), math.sqrt(1 - alpha_bar[t]))
        for t in peer.timesteps.tolist()
    ]
    given = iter(range(steps))
    monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *_, **__: draws(next(given)))
    theirs = start(levels)
    for i, (t, level) in enumerate(zip(peer.timesteps, levels, strict=True)):
        chance = {"variance_noise": draws(i)} if method == "dpm++2m_sde" else {}
        theirs = peer.step(curved(theirs, level), t, theirs, **chance).prev_sample
    ours = path(method, levels, denoise=curved, x=start(levels))[-1]
    # Theirs plan in float32.
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


# What holds of all


@pytest.mark.parametrize("method", METHODS)
def test_the_last_estimate_is_the_image_as_it_stands(process, method):
    said = []

    def denoise(x, level):
        said.append(exact(x, level).float())
        return said[-1]

    levels = grid(process, 6)
    x = start(levels).float()
    steps = path(
        method, levels, denoise=denoise, x=x, z=lambda i: draws(i).float(), process=process
    )
    assert len(steps) == 6
    assert torch.equal(steps[-1], said[-1])
    assert all(step.isfinite().all() and step.dtype == torch.float32 for step in steps)
    twice = 5 - (levels[0].alpha == 0) if method in ("heun", "edm") else 0
    assert len(said) == 6 + twice


RATIO = st.floats(1e-3, 1e3) | st.just(math.inf)


def variance_preserving(ratio):
    return Level(0.0, 0.0, 1.0) if math.isinf(ratio) else Level(0.0, *unit(ratio))


def unit(ratio):
    return 1 / math.hypot(1, ratio), ratio / math.hypot(1, ratio)


@given(RATIO, st.floats(1e-3, 0.999))
def test_both_steps_lead_from_one_marginal_to_the_other(ratio, share):
    s = variance_preserving(ratio)
    t = variance_preserving(share * min(ratio, 1e4))
    at = torch.tensor([1.0, 0.0], dtype=torch.double)  # coefficients of x_0 and of ε
    x = torch.tensor([s.alpha, s.sigma], dtype=torch.double)
    # Along the flow ε stays what it was.
    torch.testing.assert_close(flow(x, at, s, t), torch.tensor([t.alpha, t.sigma]).double())
    # Of the posterior, the ε that is left and the fresh noise together spread as σ_t.
    still = posterior(x, at, s, t, torch.zeros_like(x))
    fresh = posterior(x, at, s, t, torch.ones_like(x)) - still
    assert still[0].item() == pytest.approx(t.alpha, rel=1e-9)
    assert math.hypot(still[1].item(), fresh[1].item()) == pytest.approx(t.sigma, rel=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_yielded_stands_at_its_level(process, method):
    levels = grid(process, 40, "log_snr")
    steps = path(method, levels, process=process)
    for level, x in zip(levels[1:], steps, strict=False):
        spread = math.hypot(level.alpha * SD, level.sigma)
        assert x.mean().item() == pytest.approx(level.alpha * MEAN, abs=spread / 5)
        assert x.std().item() == pytest.approx(spread, rel=0.2)
