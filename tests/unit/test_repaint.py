"""RePaint against its paper, and against what a Gaussian's hidden pixels are given its known ones."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.untrained import DDPM, EDM, VP_SDE, untrained
from workflow_scripts.diffusion.grid import grid
from workflow_scripts.diffusion.model import load_model
from workflow_scripts.diffusion.process import Level, make_process
from workflow_scripts.diffusion.repaint import diffused, inpaint, repaint, visits
from workflow_scripts.diffusion.sampler import batch_size, image_seeds

PROCESSES = {"ddpm": DDPM, "vp_sde": VP_SDE, "edm": EDM}


# -- the way through the levels


def authors_times(count: int, jump_length: int, resamples: int) -> list[int]:
    """The times that the authors' code visits, T − 1 … 0, and −1 for the clean image."""
    jumps = dict.fromkeys(range(0, count - jump_length, jump_length), resamples - 1)
    t, times = count, []
    while t >= 1:
        t -= 1
        times.append(t)
        if jumps.get(t, 0) > 0:
            jumps[t] -= 1
            for _ in range(jump_length):
                t += 1
                times.append(t)
    return [*times, -1]


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 5))
def test_the_way_is_the_authors(count, jump_length, resamples):
    theirs = [count - 1 - t for t in authors_times(count, jump_length, resamples)]
    ours = list(visits(count, jump_length, resamples))
    # Back they go one level at a time.
    back = [(s, t) for s, t in itertools.pairwise(ours) if t < s]
    assert all(s - t == jump_length for s, t in back)
    level_by_level = [ours[0]]
    for s, t in itertools.pairwise(ours):
        level_by_level += range(s - 1, t - 1, -1) if t < s else [t]
    assert level_by_level == theirs


def test_without_resampling_there_is_no_way_back():
    assert list(visits(5, 2, 1)) == [0, 1, 2, 3, 4, 5]


def test_a_short_way_by_hand():
    assert list(visits(4, 2, 2)) == [0, 1, 2, 3, 1, 2, 3, 4]
    assert list(visits(3, 1, 2)) == [0, 1, 0, 1, 2, 1, 2, 3]


@given(st.floats(1e-3, 1e2), st.floats(1e-3, 0.999))
def test_the_way_back_leads_from_one_marginal_to_the_other(ratio, share):
    t, s = (Level(0.0, 1 / math.hypot(1, r), r / math.hypot(1, r)) for r in (ratio, share * ratio))
    x = torch.tensor([s.alpha, s.sigma], dtype=torch.double)  # coefficients of x_0 and of ε
    still = diffused(x, s, t, torch.zeros_like(x))
    fresh = diffused(x, s, t, torch.ones_like(x)) - still
    assert still[0].item() == pytest.approx(t.alpha, rel=1e-9)
    assert math.hypot(still[1].item(), fresh[1].item()) == pytest.approx(t.sigma, rel=1e-9)


# -- algorithm 1


def textbook(x0, m, alpha_bar, eps_theta, U, draws):
    """Algorithm 1 of Lugmayr et al. 2022, line by line; times 1 … T, and draws in turn."""
    T = len(alpha_bar)
    bar = [1.0, *alpha_bar]
    beta = [None, *(1 - bar[t] / bar[t - 1] for t in range(1, T + 1))]
    # The known part of x_T as well is the known image, of which here nothing is left.
    x = next(draws)
    next(draws)
    for t in range(T, 0, -1):
        for u in range(1, U + 1):
            # Ho et al. 2020: the mean by way of x_0, the variance β̃.
            said = (x - math.sqrt(1 - bar[t]) * eps_theta(x, t)) / math.sqrt(bar[t])
            first = math.sqrt(bar[t - 1]) * beta[t] / (1 - bar[t])
            second = math.sqrt(1 - beta[t]) * (1 - bar[t - 1]) / (1 - bar[t])
            sigma = math.sqrt((1 - bar[t - 1]) / (1 - bar[t]) * beta[t])
            x_unknown = first * said + second * x + sigma * next(draws)
            eps = next(draws)
            x_known = math.sqrt(bar[t - 1]) * x0 + math.sqrt(1 - bar[t - 1]) * eps
            x = m * x_known + (1 - m) * x_unknown
            if u < U and t > 1:
                x = math.sqrt(1 - beta[t]) * x + math.sqrt(beta[t]) * next(draws)
            elif t == 1:
                break
    return x


@pytest.mark.parametrize("resamples", [1, 3])
def test_it_is_algorithm_1(resamples):
    betas = torch.linspace(0.02, 0.5, 12, dtype=torch.double)
    alpha_bar = (1 - betas).cumprod(0).tolist()
    shape = (2, 1, 4, 4)
    stream = torch.Generator().manual_seed(3)
    draws = [torch.randn(shape, generator=stream, dtype=torch.double) for _ in range(200)]
    image = torch.rand(shape, generator=stream, dtype=torch.double) - 0.5
    known = torch.rand(2, 1, 4, 4, generator=stream) < 0.5
    levels = [
        Level(float(t), math.sqrt(bar), math.sqrt(1 - bar)) for t, bar in enumerate(alpha_bar)
    ]

    def denoise(x, level):
        return 0.4 * torch.sin(2 * x) + 0.1 * level.sigma

    def eps_theta(x, t):
        level = levels[t - 1]
        return (x - level.alpha * denoise(x, level)) / level.sigma

    # The paper begins in pure noise in the known part, too; the last schedule leaves almost nothing.
    ours = repaint(denoise, image, known, levels[::-1], lambda i: draws[i], 1, resamples)
    start = levels[-1].sigma * draws[0]
    start = torch.where(known, levels[-1].alpha * image + levels[-1].sigma * draws[1], start)
    theirs = textbook(
        image, known.double(), alpha_bar, eps_theta, resamples, iter([start, *draws[1:]])
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    assert torch.equal(ours[known], image[known])


# -- a Gaussian, whose best denoiser and whose conditional distribution are known

PIXELS, SD = 4, 0.3
MEAN = torch.tensor([0.1, 0.0, -0.1, 0.05], dtype=torch.double)
PLACE = torch.arange(PIXELS)
COVARIANCE = SD**2 * 0.9 ** (PLACE[:, None] - PLACE).abs().double()
KNOWN = torch.tensor([True, False, False, False])
IMAGE = torch.tensor([0.5, 9.0, 9.0, 9.0], dtype=torch.double)  # what is hidden is not looked at


def best(x, level):
    """E[x_0 | x_t] where x_0 ~ N(MEAN, COVARIANCE)."""
    total = level.alpha**2 * COVARIANCE + level.sigma**2 * torch.eye(PIXELS).double()
    gain = level.alpha * COVARIANCE @ torch.linalg.inv(total)
    flat = x.flatten(1)
    return (MEAN + (flat - level.alpha * MEAN) @ gain.T).view(x.shape)


def conditional():
    """Mean and standard deviation of each hidden pixel, given the known one."""
    across = COVARIANCE[~KNOWN][:, KNOWN] @ torch.linalg.inv(COVARIANCE[KNOWN][:, KNOWN])
    mean = MEAN[~KNOWN] + across @ (IMAGE - MEAN)[KNOWN]
    left = COVARIANCE[~KNOWN][:, ~KNOWN] - across @ COVARIANCE[KNOWN][:, ~KNOWN]
    return mean, left.diagonal().sqrt()


def moments(levels, jump_length, resamples):
    """The exact mean and standard deviation of what comes out, without a random number.

    All is linear in the noise. Each image is therefore sent through with 1 for one pixel of one draw
    and 0 for all else, and the last with 0 for all.
    """
    draws = 2 * len(list(visits(len(levels), jump_length, resamples)))
    count = draws * PIXELS + 1
    shape = (count, 1, 2, 2)

    def unit(draw):
        z = torch.zeros(count, PIXELS, dtype=torch.double)
        z[draw * PIXELS + PLACE, PLACE] = 1
        return z.view(shape)

    image, known = IMAGE.view(1, 1, 2, 2).expand(shape), KNOWN.view(1, 1, 2, 2).expand(shape)
    out = repaint(best, image, known, levels, unit, jump_length, resamples).flatten(1)
    return out[-1, ~KNOWN], (out[:-1] - out[-1])[:, ~KNOWN].norm(dim=0)


@pytest.mark.parametrize("name", PROCESSES)
def test_resampling_finds_what_the_known_pixels_say_of_the_hidden_ones(name):
    levels = grid(make_process(PROCESSES[name], image_size=64, sigma_data=SD), 100)
    mean, spread = conditional()
    told = mean - MEAN[~KNOWN]  # what the known pixel changes

    def missed(jump_length, resamples):
        found = moments(levels, jump_length, resamples)
        return ((found[0] - mean) / told).abs().max(), (found[1] / spread - 1).abs().max()

    without, _ = missed(1, 1)
    assert without > 0.5, "the reverse process alone hardly hears of it"
    of_mean, of_spread = missed(10, 10)  # as the authors do
    assert of_mean < 0.2
    assert of_spread < 0.1
    further, _ = missed(5, 20)
    assert further < 0.6 * of_mean


# -- models


@pytest.fixture(scope="module", params=PROCESSES)
def model(request, tmp_path_factory):
    return load_model(untrained(tmp_path_factory.mktemp(request.param), PROCESSES[request.param]))


SAMPLER = {"steps": 3, "jump_length": 1, "resamples": 2, "guidance": 1.5}


def case(model, count, seed=0):
    stream = torch.Generator().manual_seed(seed)
    size = model.image_size
    images = 2 * torch.rand(count, 1, size, size, generator=stream) - 1
    known = torch.rand(count, size, size, generator=stream) < 0.6
    c = model.conditions.vector("Effusion").expand(count, -1)
    return images, known, c, image_seeds(1, "test", range(count))


def test_known_pixels_stay_and_hidden_ones_are_not_looked_at(model):
    images, known, c, seeds = case(model, 3)
    found = inpaint(model, images, known, c, seeds, SAMPLER)
    there = known[:, None]
    assert torch.equal(found[there], images[there])
    assert (found != images)[~there].float().mean() > 0.99
    spoiled = torch.where(there, images, torch.tensor(0.75))
    assert torch.equal(inpaint(model, spoiled, known, c, seeds, SAMPLER), found)


def test_an_image_depends_on_neither_its_batch_nor_its_place(model):
    count = batch_size(model) + 3
    images, known, c, seeds = case(model, count)
    found = inpaint(model, images, known, c, seeds, SAMPLER)
    some = torch.tensor([count - 1, 4, 0])
    alone = inpaint(model, images[some], known[some], c[some], seeds[some], SAMPLER)
    assert torch.equal(alone, found[some])


def test_seeds_conditions_and_what_is_known_matter(model):
    images, known, c, seeds = case(model, 2)
    found = inpaint(model, images, known, c, seeds, SAMPLER)
    other = model.conditions.vector("Pneumonia").expand(2, -1)
    for changed in (
        (images, known, c, seeds + 1),
        (images, known, other, seeds),
        (-images, known, c, seeds),
    ):
        assert not torch.equal(
            inpaint(model, *changed, SAMPLER)[~known[:, None]], found[~known[:, None]]
        )


def test_every_draw_of_an_image_is_another(model, monkeypatch):
    said, noise = [], model.process.noise

    def counted(seeds, draw, shape):
        said.append(draw)
        return noise(seeds, draw, shape)

    monkeypatch.setattr(model.process, "noise", counted)
    inpaint(model, *case(model, 1), SAMPLER)
    assert sorted(said) == list(range(len(said)))
