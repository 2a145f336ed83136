"""Simplex noise: of mean 0 and variance 1, smooth, a function of its seed."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from tests.unit.small_training import (
    CPU,
    DIFFUSION,
    MODEL,
    TRAINING,
    VALUES,
    run,
    weights,
    write_images,
)
from workflow_scripts.diffusion.conditions import Conditions
from workflow_scripts.diffusion.model import load_model
from workflow_scripts.diffusion.noise import noise
from workflow_scripts.diffusion.process import make_process
from workflow_scripts.diffusion.sampler import trajectory
from workflow_scripts.diffusion.simplex import (
    PERSISTENCE,
    VARIANCE,
    lattice_side,
    octave,
    octaves_of,
    simplex_noise,
)
from workflow_scripts.training.batches import Batches, read_split
from workflow_scripts.training.validation import validation_loss

SEEDS = torch.arange(3000)


@pytest.fixture(scope="module")
def drawn() -> torch.Tensor:
    """Noise of many images of 32 pixels: (3000, 32, 32)."""
    return torch.cat([simplex_noise(part, 0, (1, 32, 32)) for part in SEEDS.split(500)])[:, 0]


def correlation(images: torch.Tensor, apart: int) -> float:
    """Mean product of pixels that are so far apart in a row, whose mean is 0 and variance 1."""
    return (images[..., apart:] * images[..., :-apart]).mean().item()


def test_every_pixel_has_mean_0_and_variance_1(drawn):
    error = 1 / math.sqrt(len(drawn))
    assert drawn.mean(0).abs().max() < 5 * error
    assert (drawn.var(0) - 1).abs().max() < 5 * math.sqrt(2.2) * error
    assert drawn.mean().item() == pytest.approx(0, abs=0.02)
    assert drawn.var().item() == pytest.approx(1, abs=0.02)
    assert (drawn**4).mean().item() == pytest.approx(3, abs=0.25), "about normal"


def test_every_pixel_varies_alike_wherever_the_lattice_lies():
    """Shifts over a whole cell: over the unit square some pixels varied by 4 % less, others by 2 % more."""
    steps = (torch.arange(128) + 0.5) / 128
    shift = torch.cartesian_prod(steps, steps).repeat(4, 1)
    side = lattice_side(4)
    gradients = torch.randn(len(shift), 2, side**2, generator=torch.Generator().manual_seed(0))
    ratio = octave(8, 4, shift, gradients, side).square().mean(0) / VARIANCE
    assert (ratio - 1).abs().max() < 0.02


def test_it_is_smooth_and_gaussian_noise_is_not(drawn):
    near, nearer = correlation(drawn, 2), correlation(drawn, 1)
    assert nearer > 0.45
    assert 0.1 < near < nearer
    white = noise(SEEDS, 0, (32, 32))
    assert abs(correlation(white, 1)) < 0.01
    down = correlation(drawn.transpose(-1, -2), 1)
    assert down == pytest.approx(nearer, abs=0.02), "the same along both axes"


def test_far_pixels_know_nothing_of_each_other(drawn):
    # The coarsest cell is 8 pixels wide here.
    assert abs(correlation(drawn, 24)) < 0.02


@pytest.mark.parametrize("cells", [4, 16])
def test_one_octave_has_its_variance_in_closed_form(cells):
    shift = torch.rand(4000, 2, generator=torch.Generator().manual_seed(1))
    side = lattice_side(cells)
    stream = torch.Generator().manual_seed(2)
    gradients = torch.randn(4000, 2, side**2, generator=stream)
    value = octave(16, cells, shift, gradients, side)
    assert value.var().item() / VARIANCE == pytest.approx(1, abs=0.02)


def test_the_paper_s_octaves_at_its_size():
    assert [256 / cells for cells in octaves_of(256)] == [64, 32, 16, 8, 4, 2]
    assert PERSISTENCE == 0.8
    assert octaves_of(64) == [4, 8, 16, 32]
    assert octaves_of(8) == [4], "one at least"


def test_an_image_s_noise_depends_on_its_seed_and_not_on_its_batch():
    together = simplex_noise(torch.tensor([5, 6, 7]), 0, (1, 16, 16))
    alone = simplex_noise(torch.tensor([6]), 0, (1, 16, 16))
    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-6)
    assert not torch.allclose(together[0], together[1])
    assert simplex_noise(torch.tensor([6]), 0, (1, 16, 16)).equal(alone)


def test_draws_and_channels_are_independent(drawn):
    other = torch.cat([simplex_noise(part, 1, (1, 32, 32)) for part in SEEDS[:500].split(250)])
    assert abs((other[:, 0] * drawn[:500]).mean().item()) < 0.02
    colour = simplex_noise(SEEDS[:500], 0, (3, 32, 32))
    assert colour.shape == (500, 3, 32, 32)
    assert abs((colour[:, 0] * colour[:, 1]).mean().item()) < 0.02


# -- a model of simplex noise


@pytest.fixture
def training(tmp_path):
    """The smallest training there is, with simplex noise: its configuration and its files."""
    images, shards = write_images(tmp_path)
    model = MODEL | {"diffusion": DIFFUSION | {"noise": "simplex"}}
    return tmp_path, images, shards, model


def test_batches_and_validation_see_the_noise_of_the_process(training):
    _, images, shards, model = training
    process = make_process(model["diffusion"], 16, 0.5)
    split = read_split(images, shards, "train")
    settings = TRAINING | {"batch_size": 512}
    batch = Batches(split, Conditions(VALUES), settings, CPU, eps=process.eps)[0]
    assert batch.eps.shape == batch.x0.shape
    assert batch.eps.var().item() == pytest.approx(1, abs=0.1)
    assert correlation(batch.eps, 1) > 0.15
    again = Batches(split, Conditions(VALUES), settings, CPU, 1, 2, eps=process.eps)[0]
    assert again.eps.equal(batch.eps[1::2]), "each process has its part of the same noise"
    white = Batches(split, Conditions(VALUES), settings, CPU)[0]
    assert abs(correlation(white.eps, 1)) < 0.05

    seen = []

    def network(x, t, c):
        seen.append(x)
        return torch.zeros_like(x)

    network.parameters = lambda: iter([torch.zeros(1)])
    held_out = read_split(images, shards, "val")
    losses = [
        validation_loss(network, make_process(settings, 16, 0.5), Conditions(VALUES), held_out)
        for settings in (model["diffusion"], DIFFUSION)
    ]
    assert losses[0] != losses[1]
    assert not seen[0].equal(seen[1])


def test_a_model_trained_with_simplex_noise_draws_from_it(training):
    folder, images, shards, model = training
    run(folder, images, shards, model=model)
    process = make_process(json.loads((folder / "model.json").read_text())["diffusion"], 16, 0.5)
    seeds = torch.tensor([1, 2])
    assert process.noise(seeds, 3, (1, 16, 16)).equal(simplex_noise(seeds, 3, (1, 16, 16)))
    usual = make_process(DIFFUSION, 16, 0.5)
    assert usual.noise(seeds, 3, (1, 16, 16)).equal(noise(seeds, 3, (1, 16, 16)))
    other = folder / "usual"
    run(other, images, shards)
    of_simplex, of_normal = (
        load_file(where / "ema" / "short.safetensors") for where in (folder, other)
    )
    assert not weights(of_simplex).equal(weights(of_normal))
    drawn = load_model(folder, weights=folder / "ema" / "short.safetensors")
    first = next(
        trajectory(drawn, drawn.conditions.vector("Effusion")[None], seeds[:1], {"steps": 2})
    )
    assert (first[1] / first[0].sigma).equal(simplex_noise(seeds[:1], 0, (1, 16, 16)))
