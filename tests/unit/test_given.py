"""Models that are given an image beside the noise, of any channels and depth; and regressors."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from small_training import CPU, DIFFUSION, MODEL, TRAINING, VALUES, run, write_images

from tests.untrained import untrained
from workflow_scripts.common.pixels import to_input
from workflow_scripts.diffusion.conditions import Conditions
from workflow_scripts.diffusion.degradation import make_degradation
from workflow_scripts.diffusion.model import load_model
from workflow_scripts.diffusion.sampler import batch_size, image_seeds, plan, sample
from workflow_scripts.training.batches import Batches, read_split
from workflow_scripts.training.choose_average import choose_average

NOISE = {"kind": "noise", "noise": "rician", "variances": [0.0025, 0.04]}
REDUCTION = {"kind": "reduction", "factor": 4}
REGRESSION = {"process": "regression", "loss": "l2"}
KNOWN = Conditions({"noise": NOISE["variances"]})


@pytest.fixture
def split(tmp_path):
    return read_split(*write_images(tmp_path), "train")


def batches(split, of=(0, 1), regression=False, known=KNOWN, **settings):
    settings = TRAINING | {"batch_size": 12} | settings
    return Batches(split, known, settings, CPU, *of, make_degradation(NOISE), regression)


def test_a_given_image_is_the_clean_one_with_noise_of_the_stated_variance(split):
    x0, _, _, c, given = batches(split, label_dropout=0.0, batch_size=2048)[0]
    assert given.shape == x0.shape
    for column, variance in enumerate(NOISE["variances"]):
        mine = c[:, column] == 1
        clean, noisy = (x0[mine] + 1) / 2, (given[mine] + 1) / 2
        # E m² = a² + 2 σ² of Rice's distribution, whatever a is.
        found = (noisy**2 - clean**2).mean().item() / 2
        assert found == pytest.approx(variance, rel=0.1)


@pytest.mark.parametrize("values", [{}, {"finding": VALUES["finding"]}])
def test_the_given_image_is_as_noisy_whether_or_not_the_network_is_told(split, values):
    settings = {"label_dropout": 0.0, "batch_size": 64}
    known = Conditions(values | KNOWN.values)
    told = batches(split, known=known, **settings)[0]
    untold = batches(split, known=Conditions(values), **settings)[0]
    for drawn in (told, untold):  # of variance 0.0025 about 0.1, and of 0.04 about 0.4
        loud = (drawn.given - drawn.x0).flatten(1).std(dim=1) > 0.2
        assert 16 < loud.sum() < 48
        assert (drawn.given != drawn.x0).flatten(1).any(dim=1).all()
        if drawn is told:
            assert torch.equal(drawn.c[:, known.block("noise")][:, 1] == 1, loud)
    assert torch.equal(told.c[:, : untold.c.shape[1]], untold.c)


def test_the_given_image_is_hidden_with_the_conditions(split):
    batch = batches(split, label_dropout=0.5, batch_size=64)[0]
    hidden = (batch.given == 0).flatten(1).all(dim=1)
    assert torch.equal(hidden, batch.c[:, -1] == 1)
    assert 10 < hidden.sum() < 54


def test_a_regressor_learns_what_was_done_to_the_image(split):
    beside, alone = batches(split, label_dropout=0.0)[3], batches(split, regression=True)[3]
    assert alone.given is None
    torch.testing.assert_close(alone.x0 + alone.eps, beside.given)


@pytest.mark.parametrize("regression", [False, True])
def test_the_parts_of_several_processes_make_up_the_batch_of_one(split, regression):
    whole = batches(split, regression=regression)[5]
    parts = [batches(split, (rank, 2), regression)[5] for rank in range(2)]
    for name in whole._fields[: 4 + (not regression)]:
        found = torch.stack([getattr(part, name) for part in parts], dim=1).flatten(0, 1)
        assert torch.equal(found, getattr(whole, name))


def trained(folder, model, images, shards):
    """Train and choose the average, as the rules do; return the model."""
    run(folder, images, shards, model=MODEL | model)
    choose_average(
        images,
        shards,
        folder / "ema" / "short.safetensors",
        folder / "ema" / "long.safetensors",
        folder / "unet" / "config.json",
        folder / "unet" / "diffusion_pytorch_model.safetensors",
        folder / "average.parquet",
        {"ema": TRAINING["ema"], "device": "cpu", "precision": "fp32"},
    )
    return load_model(folder)


def coloured(shards, dtype=np.uint16):
    """Make of grey shards such of three unlike channels of 16 bits."""
    for shard in shards:
        grey = np.load(shard).astype(np.uint32)
        colour = np.stack([257 * grey, 65535 - 257 * grey, 128 * grey], axis=-1)
        np.save(shard, colour.astype(dtype))


@pytest.mark.parametrize(
    "model",
    [
        {"given": NOISE, "conditions": ["noise"]},
        {"given": NOISE, "conditions": ["noise"], "diffusion": REGRESSION},
        {"given": NOISE, "conditions": ["finding", "noise"]},
        {"given": NOISE, "conditions": []},
        {"given": REDUCTION, "conditions": []},
        {"conditions": []},
    ],
    ids=["noise", "regression", "finding", "untold", "reduction", "unconditional"],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_training_goes_through_to_images(tmp_path, model, channels):
    images, shards = write_images(tmp_path)
    if channels == 3:
        coloured(shards)
    model = trained(tmp_path / "model", model, images, shards)
    assert (model.channels, model.bits) == (channels, 16 if channels == 3 else 8)
    held_out = read_split(images, shards, "val")
    x0 = to_input(held_out.store.gather(np.arange(3)), CPU)
    c = torch.zeros(3, model.conditions.width)
    settings, given = {"method": "ddim", "steps": 2, "guidance": 1}, {}
    if degradation := model.degradation:
        normal = torch.zeros(3, degradation.draws, *x0.shape[1:])
        degraded = degradation(x0, normal, torch.zeros(3))
        regression = model.facts["diffusion"]["process"] == "regression"
        given = {"begin" if regression else "given": degraded}
        assert model.network.given == (0 if regression else channels)
    drawn = sample(model, c, image_seeds(0, "x", range(3)), settings, **given)
    assert drawn.shape == x0.shape and drawn.isfinite().all()
    facts = json.loads((tmp_path / "model" / "model.json").read_text())
    assert facts["conditions"] == model.conditions.values


def test_a_regressor_that_says_nothing_returns_what_it_sees(tmp_path):
    model = load_model(untrained(tmp_path / "m", REGRESSION, KNOWN.values, given=NOISE))
    for parameter in model.network.unet.conv_out.parameters():
        parameter.data.zero_()
    y = torch.rand(2, 1, 16, 16) * 2 - 1
    c = torch.stack([KNOWN.vector(noise=0.0025)] * 2)
    settings = {"method": "ddim", "steps": 1, "guidance": 1}
    assert torch.equal(sample(model, c, image_seeds(0, "x", range(2)), settings, begin=y), y)


@pytest.mark.parametrize("guidance", [1, 2.0])
def test_what_is_given_belongs_to_its_image_whatever_the_batch(tmp_path, guidance):
    model = load_model(untrained(tmp_path / "m", conditions=KNOWN.values, given=NOISE, channels=3))
    count = batch_size(model) + 3
    given = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    c, seeds = KNOWN.vector(noise=0.04).expand(count, -1), image_seeds(0, "x", range(count))
    settings = {"method": "ddpm", "steps": 2, "guidance": guidance}
    whole = sample(model, c, seeds, settings, given=given)
    last = sample(model, c[-2:], seeds[-2:], settings, given=given[-2:])
    assert torch.equal(whole[-2:], last)
    other = sample(model, c[-2:], seeds[-2:], settings, given=-given[-2:])
    assert not torch.equal(last, other)
    hidden = sample(model, c[-2:], seeds[-2:], settings, given=torch.zeros(2, 3, 16, 16))
    unguided = sample(model, c[-2:], seeds[-2:], settings | {"guidance": 1}, given=given[-2:])
    assert torch.equal(last, unguided) == (guidance == 1)
    assert not torch.equal(hidden, last)


def test_a_model_that_is_given_no_image_takes_none_and_another_needs_one(tmp_path):
    plain = load_model(untrained(tmp_path / "plain", conditions=KNOWN.values))
    given = load_model(untrained(tmp_path / "given", conditions=KNOWN.values, given=NOISE))
    c, seeds = KNOWN.vector().expand(1, -1), image_seeds(0, "x", [0])
    with pytest.raises(ValueError, match="given 1 channels"):
        sample(given, c, seeds, {"steps": 2})
    with pytest.raises(ValueError, match="given 0 channels"):
        sample(plain, c, seeds, {"steps": 2}, given=torch.zeros(1, 1, 16, 16))


def test_going_on_from_an_image_begins_at_the_first_level(tmp_path):
    """With so little noise left that no step changes anything, the image comes back."""
    model = load_model(untrained(tmp_path / "m", DIFFUSION))
    least, _ = model.process.sigma_range
    settings = {"method": "ddim", "steps": 2, "spacing": "log_snr", "guidance": 1}
    first = plan(model.process, {"sigma_min": None} | settings | {"sigma_max": 1.01 * least})[0]
    x0 = torch.rand(2, 1, 16, 16) * 2 - 1
    c, seeds = model.conditions.vector().expand(2, -1), image_seeds(0, "x", range(2))
    settings["sigma_max"] = 1.01 * least
    back = sample(model, c, seeds, settings, begin=first.alpha * x0)
    assert (back - x0).abs().max() < 0.1
    elsewhere = sample(model, c, seeds, settings | {"sigma_max": None})
    assert (elsewhere - x0).abs().max() > 0.5


def test_variances_between_those_learned_are_interpolated():
    known = Conditions({"noise": [0.01, 0.03]})
    assert known.vector(noise=0.02).tolist() == [0.5, 0.5, 0]
    table = pd.DataFrame({"noise_variance": [0.0, 0.03, np.nan]})
    assert known.encode(table).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
