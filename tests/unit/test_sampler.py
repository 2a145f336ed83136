"""Samples and their seeds, guidance, and the steps that draw."""

import functools
import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.image import imread

from tests.untrained import DDPM, EDM, VP_SDE, untrained
from workflow_scripts.common import configuration
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.pixels import to_pixels
from workflow_scripts.common.schemas import SAMPLES
from workflow_scripts.common.tables import read_table
from workflow_scripts.diffusion import draw
from workflow_scripts.diffusion.model import Model, load_model
from workflow_scripts.diffusion.noise import noise
from workflow_scripts.diffusion.process import make_process
from workflow_scripts.diffusion.sampler import (
    DEFAULTS,
    batch_size,
    guided,
    image_seeds,
    plan,
    sample,
    trajectory,
)
from workflow_scripts.diffusion.solvers import solve
from workflow_scripts.sampling.collect_samples import collect_samples
from workflow_scripts.sampling.draw_samples import draw_samples
from workflow_scripts.sampling.plot_denoising import plot_denoising

METHODS = ["ddpm", "ddim", "dpm++2m", "dpm++2m_sde", "unipc", "heun", "edm"]
SAMPLER = DEFAULTS | {
    "method": "dpm++2m_sde",
    "steps": 3,
    "autoguidance": None,
    "condition": {},
    "per_class": 8,
    "shards": 1,
    "seed": 2,
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder of models: `small`, and others that may guide it."""
    folder = tmp_path_factory.mktemp("models")
    untrained(folder / "small")
    untrained(folder / "worse", seed=1)
    untrained(folder / "elsewhere", VP_SDE, seed=2)
    untrained(folder / "karras", EDM, seed=3)
    untrained(folder / "blind", conditions={"finding": ["No Finding", "Effusion"]})
    untrained(folder / "shown", given={"kind": "reduction", "factor": 2})
    return folder


@pytest.fixture
def model(models):
    return load_model(models / "small")


def asked(model, count):
    """Conditions and seeds of `count` images, no two alike."""
    findings = ["No Finding", "Effusion", "Pneumonia"]
    c = [model.conditions.vector(findings[k % 3], age=2 * k) for k in range(count)]
    return torch.stack(c), image_seeds(7, "test", range(count))


def calls(model, monkeypatch):
    """Return a list that fills with the x, t and c of every evaluation of the network."""
    said, forward = [], model.network.forward

    def spy(x, t, c):
        said.append((x.clone(), t.clone(), c.clone()))
        return forward(x, t, c)

    monkeypatch.setattr(model.network, "forward", spy)
    return said


# Image k is image k


@pytest.mark.parametrize("method", METHODS)
def test_images_are_the_same_to_the_bit_in_batches_of_1_7_and_32(model, method):
    c, seeds = asked(model, 32)
    sampler = {"method": method, "steps": 4, "spacing": "log_snr", "guidance": 1.5}
    whole = sample(model, c, seeds, sampler)
    assert whole.isfinite().all()
    for size in (1, 7):
        pieces = zip(c.split(size), seeds.split(size), strict=True)
        # Other places in the batch and other company than in the whole.
        parts = [sample(model, *piece, sampler) for k, piece in enumerate(pieces) if k in (0, 2, 4)]
        for part, k in zip(parts, (0, 2, 4), strict=True):
            assert torch.equal(part, whole[k * size : (k + 1) * size])
    assert len({image.numpy().tobytes() for image in whole}) == 32


@pytest.mark.parametrize("process", ["small", "karras", "elsewhere"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_draws_from_every_process(models, process, method):
    model = load_model(models / process)
    c, seeds = asked(model, 2)
    drawn = sample(model, c, seeds, {"method": method, "steps": 3})
    assert drawn.shape == (2, 1, 16, 16)
    assert drawn.isfinite().all()
    other = sample(model, c, seeds + 1, {"method": method, "steps": 3})
    assert not torch.equal(drawn, other)


def test_seeds_name_the_image_and_nothing_else():
    seeds = image_seeds(1, "Effusion", range(10))
    assert torch.equal(image_seeds(1, "Effusion", [3, 5]), seeds[[3, 5]])
    others = [image_seeds(2, "Effusion", range(10)), image_seeds(1, "Pneumonia", range(10))]
    assert len(set(torch.cat([seeds, *others]).tolist())) == 30
    assert (seeds >= 0).all()


def test_no_images_are_none(model):
    nobody = torch.zeros(0, model.conditions.width), torch.zeros(0, dtype=torch.int64)
    assert sample(model, *nobody, {}).shape == (0, 1, 16, 16)


def test_a_trajectory_goes_from_pure_noise_to_the_image(model):
    c, seeds = asked(model, 3)
    levels, stages = zip(*trajectory(model, c, seeds, {"steps": 5}), strict=True)
    assert len(stages) == 6
    assert levels[0].alpha == 0
    assert (levels[-1].alpha, levels[-1].sigma) == (1, 0)
    sigmas = [level.ratio for level in levels]
    assert sigmas == sorted(sigmas, reverse=True)
    assert stages[0].mean().item() == pytest.approx(0, abs=4 / math.sqrt(stages[0].numel()))
    assert torch.equal(stages[-1], sample(model, c, seeds, {"steps": 5}))


def test_every_noise_of_an_image_is_a_draw_of_its_own(model, monkeypatch):
    c, seeds = asked(model, 1)
    drawn = []

    def spy(seeds, draw, shape):
        drawn.append(draw)
        return noise(seeds, draw, shape)

    monkeypatch.setattr("workflow_scripts.diffusion.process.noise", spy)
    sample(model, c, seeds, {"method": "ddpm", "steps": 4})
    assert drawn == [0, 1, 2, 3, 4]


def test_bf16_is_another_arithmetic_of_the_same_image(model):
    c, seeds = asked(model, 2)
    fp32, bf16 = (sample(model, c, seeds, {"steps": 3}, bf16=bf16) for bf16 in (False, True))
    assert bf16.dtype == torch.float32
    assert not torch.equal(fp32, bf16)
    assert (fp32 - bf16).abs().mean() < 0.1 * fp32.std()


def test_the_defaults_are_the_configuration_s():
    entry = {"method": "edm", "steps": 20, "per_class": 1}
    completed = configuration.completed(entry, {"$ref": "#/$defs/sampler"})
    for name in set(DEFAULTS) - {"method", "steps"}:
        assert completed[name] == DEFAULTS[name], name


# Where sampling begins

FINITE = DDPM | {"zero_terminal_snr": False}
PREDICTED = {
    "ddpm v": DDPM,
    "ddpm sample": DDPM | {"prediction": "sample"},
    "cosine epsilon": FINITE | {"prediction": "epsilon"},
    "linear epsilon": FINITE | {"prediction": "epsilon", "schedule": "linear"},
    "vp_sde epsilon": VP_SDE,
    "vp_sde v": VP_SDE | {"prediction": "v"},
    "edm": EDM,
}


@pytest.mark.parametrize("method", [name for name in METHODS if name != "ddpm"])
@pytest.mark.parametrize("settings", PREDICTED.values(), ids=PREDICTED)
def test_a_small_error_of_the_network_is_one_of_the_image(settings, method):
    mean, sd = 0.1, 0.2
    process = make_process(settings, image_size=64, sigma_data=sd)
    seeds, shape, step = torch.arange(4), (1, 16, 16), itertools.count(100)
    sampler = DEFAULTS | {"method": method}
    levels = plan(process, sampler)
    x = levels[0].sigma * noise(seeds, 0, shape)

    def drawn(error):
        def network(x, level):
            alpha, sigma = level.alpha, level.sigma
            gain = alpha * sd**2 / (alpha**2 * sd**2 + sigma**2)
            x0 = mean + gain * (x - alpha * mean)
            c_skip, c_out, _ = process.scalings(alpha, sigma)
            said = (x0 - c_skip * x) / c_out
            wrong = said + error * said.square().mean().sqrt() * noise(seeds, next(step), shape)
            return c_skip * x + c_out * wrong

        def fresh(k):
            return noise(seeds, 1 + k, shape)

        *_, last = solve(sampler["method"], network, x, levels, fresh, process.level_at, 40.0)
        return last

    exact = drawn(0.0)
    assert exact.std() == pytest.approx(sd, rel=0.5)
    assert (drawn(0.01) - exact).square().mean().sqrt() < 0.2 * sd


def test_a_network_that_says_epsilon_is_not_asked_in_pure_noise():
    process = make_process(PREDICTED["cosine epsilon"], image_size=64, sigma_data=0.5)
    _, high = process.sigma_range
    assert math.exp(5) < plan(process, DEFAULTS)[0].ratio <= math.exp(5.1) < high
    # Unless x_0 is clipped, or it is asked for.
    assert plan(process, DEFAULTS | {"method": "ddpm"})[0].ratio == pytest.approx(high)
    assert plan(process, DEFAULTS | {"sigma_max": 1000.0})[0].ratio > math.exp(6)


# Guidance


@pytest.fixture
def scene(model):
    x = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return x, model.process.level_at(2.0), asked(model, 4)[0]


def test_guidance_leads_from_the_hidden_to_the_stated(model, scene):
    x, level, c = scene
    stated = model.denoise(x, level, c)
    hidden = model.denoise(x, level, model.conditions.hidden(c))
    assert not torch.allclose(stated, hidden)

    def at(weight):
        return guided(model, c, DEFAULTS | {"guidance": weight})(x, level)

    assert torch.equal(at(1), stated)
    close = functools.partial(torch.testing.assert_close, atol=1e-4, rtol=1e-4)
    close(at(0), hidden)
    close(at(2.5), hidden + 2.5 * (stated - hidden))


def test_guidance_costs_one_doubled_batch_and_weight_one_none(model, scene, monkeypatch):
    x, level, c = scene
    said = calls(model, monkeypatch)
    guided(model, c, DEFAULTS | {"guidance": 3.0})(x, level)
    assert [len(x) for x, _, _ in said] == [8]
    assert torch.equal(said[0][2], torch.cat([c, model.conditions.hidden(c)]))
    said.clear()
    guided(model, c, DEFAULTS | {"guidance": 1.0})(x, level)
    assert [len(x) for x, _, _ in said] == [4]


def test_only_what_is_guided_is_hidden(model, scene, monkeypatch):
    x, level, c = scene
    said = calls(model, monkeypatch)
    guided(model, c, DEFAULTS | {"guided": ["age"]})(x, level)
    negative = said[0][2][4:]
    age, finding = model.conditions.block("age"), model.conditions.block("finding")
    assert torch.equal(negative[:, finding], c[:, finding])
    assert not torch.equal(negative[:, age], c[:, age])
    assert torch.equal(negative, model.conditions.hidden(c, ["age"]))


@pytest.mark.parametrize(
    ("ratio", "inside"), [(0.5, False), (0.6, True), (1.5, True), (2.0, True), (2.1, False)]
)
def test_outside_the_interval_the_conditional_model_speaks_alone(
    model, scene, monkeypatch, ratio, inside
):
    x, _, c = scene
    level = model.process.level_at(ratio)
    # Of the level itself, whose ratio differs from the one asked for in its last digit.
    bounds = [model.process.level_at(0.5).ratio, model.process.level_at(2.0).ratio]
    denoise = guided(model, c, DEFAULTS | {"guidance": 3.0, "guidance_interval": bounds})
    said = calls(model, monkeypatch)
    result = denoise(x, level)
    assert [len(x) for x, _, _ in said] == [8 if inside else 4]
    assert torch.equal(result, model.denoise(x, level, c)) != inside


def test_pure_noise_is_guided_unless_the_interval_ends_below(model, scene, monkeypatch):
    x, _, c = scene
    said = calls(model, monkeypatch)
    for interval in (None, [0.5, 2.0]):
        guided(model, c, DEFAULTS | {"guidance_interval": interval})(x, model.process.level(999.0))
    assert [len(x) for x, _, _ in said] == [8, 4]


def test_autoguidance_leads_away_from_what_a_worse_model_says_of_the_same(
    models, model, scene, monkeypatch
):
    x, level, c = scene
    guide = load_model(models / "worse")
    good, bad = model.denoise(x, level, c), guide.denoise(x, level, c)
    said, asked_of_guide = calls(model, monkeypatch), calls(guide, monkeypatch)
    result = guided(model, c, DEFAULTS | {"guidance": 2.0}, guide)(x, level)
    torch.testing.assert_close(result, bad + 2.0 * (good - bad))
    for calls_of in (said, asked_of_guide):
        assert len(calls_of) == 1
        assert torch.equal(calls_of[0][2], c)


def test_a_model_that_guides_itself_changes_nothing(models, model):
    c, seeds = asked(model, 2)
    alone = sample(model, c, seeds, {"steps": 4, "guidance": 1.0})
    itself = sample(model, c, seeds, {"steps": 4, "guidance": 3.0}, load_model(models / "small"))
    torch.testing.assert_close(itself, alone, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("process", ["elsewhere", "karras"])
@pytest.mark.parametrize("ratio", [math.inf, 30.0, 1.0, 0.1])
def test_a_guide_of_another_process_sees_the_same_noise_over_signal(
    models, model, monkeypatch, process, ratio
):
    guide = load_model(models / process)
    c, _ = asked(model, 1)
    x0, eps = torch.randn(2, 1, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    level = model.process.level_at(ratio)
    seen = []

    def spy(x, level, c, given):
        seen.append((x, level))
        return torch.zeros_like(x)

    monkeypatch.setattr(guide, "denoise", spy)
    guided(model, c, DEFAULTS, guide)(level.alpha * x0 + level.sigma * eps, level)
    [(x, other)] = seen
    if math.isfinite(ratio):
        assert other.ratio == pytest.approx(ratio)
        torch.testing.assert_close(x, other.alpha * x0 + other.sigma * eps, atol=1e-4, rtol=1e-4)
    else:  # the noisiest level that the guide has
        most = min(guide.process.sigma_range[1], guide.process.noisiest)
        assert other.ratio == pytest.approx(most)
        torch.testing.assert_close(x, other.sigma * eps)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("blind", "knows the conditions"),
        ("shown", "knows given images None, its guide .*reduction"),
    ],
)
def test_a_guide_that_knows_other_things_is_refused(models, model, name, message):
    c, seeds = asked(model, 1)
    with pytest.raises(InputError, match=message):
        sample(model, c, seeds, {}, guide=load_model(models / name))


# The steps


def drawn(models, folder, shard=0, name="Effusion", **sampler):
    """Run `draw_samples`; return its pixels and its table."""
    pixels = folder / "effusion" / f"effusion_{shard:03d}.npy"
    config = {
        "model_name": "small",
        "sampler_name": "few",
        "class_id": 1,
        "class_name": name,
        "shard": shard,
        "sampler": SAMPLER | sampler,
        "precision": "fp32",
        "device": "cpu",
    }
    draw_samples(models / "small", pixels, pixels.with_suffix(".parquet"), config)
    return np.load(pixels), read_table(pixels.with_suffix(".parquet"), SAMPLES)


def test_image_k_is_the_same_in_one_shard_and_in_three(models, tmp_path):
    whole, table = drawn(models, tmp_path / "one")
    parts = [drawn(models, tmp_path / "three", shard=k, shards=3) for k in range(3)]
    assert [len(pixels) for pixels, _ in parts] == [3, 3, 2]
    images = dict(zip(table["image_id"], zip(table["seed"], whole, strict=True), strict=True))
    for pixels, rows in parts:
        for row in rows.itertuples():
            seed, image = images.pop(row.image_id)
            assert row.seed == seed
            assert np.array_equal(pixels[row.row], image)
    assert not images
    assert list(table["image_id"])[:2] == [
        "small/few/effusion/000000",
        "small/few/effusion/000001",
    ]
    assert set(table["class_name"]) == {"Effusion"}


def test_the_workflow_s_images_are_those_of_the_three_lines(models, tmp_path):
    pixels, _ = drawn(models, tmp_path, condition={"view": "AP", "sex": "F", "age": 60})
    images = draw(
        load_model(models / "small"),
        finding="Effusion",
        view="AP",
        sex="F",
        age=60,
        count=8,
        seed=2,
        precision="fp32",
        method="dpm++2m_sde",
        steps=3,
    )
    assert np.array_equal(images, pixels)


def test_a_sampler_s_condition_joins_the_class(models, tmp_path):
    alone, _ = drawn(models, tmp_path / "a")
    both, _ = drawn(models, tmp_path / "b", condition={"findings": ["Pneumonia"]})
    other, _ = drawn(models, tmp_path / "c", name="Pneumonia", condition={"findings": ["Effusion"]})
    assert not np.array_equal(alone, both)
    model = load_model(models / "small")
    c = model.conditions.vector(["Effusion", "Pneumonia"]).expand(8, -1)
    expected = sample(model, c, image_seeds(2, "Effusion", range(8)), SAMPLER)
    assert np.array_equal(both, to_pixels(expected))
    # The same is shown, of other seeds.
    assert not np.array_equal(other, both)


@pytest.mark.parametrize(
    ("condition", "known"), [({"view": "LL"}, "AP, PA"), ({"findings": ["Hernia"]}, "Pneumonia")]
)
def test_an_unknown_condition_is_refused_with_what_is_known(models, tmp_path, condition, known):
    with pytest.raises(InputError, match=known):
        drawn(models, tmp_path, condition=condition)
    assert not list(tmp_path.rglob("*.npy"))


def test_a_class_that_the_model_never_saw_is_refused(models, tmp_path):
    with pytest.raises(InputError, match="Hernia"):
        drawn(models, tmp_path, name="Hernia")


@pytest.mark.parametrize("guide", ["early", "worse"])
def test_autoguidance_by_name_draws_other_images(models, tmp_path, guide):
    alone, _ = drawn(models, tmp_path / "a", guidance=1.0)
    led, _ = drawn(models, tmp_path / "b", autoguidance=guide)
    assert not np.array_equal(alone, led)


def test_the_shards_are_joined_and_shown(models, tmp_path):
    parts = [drawn(models, tmp_path, shard=k, shards=2) for k in range(2)]
    shards = sorted(tmp_path.rglob("*.npy"))
    grid = tmp_path / "grid.png"
    collect_samples(sorted(tmp_path.rglob("*.parquet")), shards, tmp_path / "all.parquet", [grid])
    table = read_table(tmp_path / "all.parquet", SAMPLES)
    assert list(table["image_id"]) == sorted(pd.concat(rows for _, rows in parts)["image_id"])
    assert imread(grid).ndim == 3


@pytest.mark.parametrize("name", ["small", "karras"])
def test_the_strip_shows_every_class_from_noise_to_image(models, tmp_path, name, monkeypatch):
    shown = []
    module = "workflow_scripts.sampling.plot_denoising"
    monkeypatch.setattr(f"{module}.save_figure", lambda figure, path, dpi: shown.append(figure))
    names = ["No Finding", "Effusion", "Pneumonia"]
    config = {"sampler": SAMPLER | {"steps": 4}, "classes": names}
    config |= {"device": "cpu", "precision": "fp32"}
    monkeypatch.setattr(f"{module}.batch_size", lambda model: 2)
    plot_denoising(models / name, tmp_path / "strip.png", config)
    cells = np.array(shown[0].axes).reshape(3, 5)
    assert [row[0].get_ylabel() for row in cells] == names
    assert [cell.get_title() for cell in cells[0]][::4] == [
        {"small": "t = 999", "karras": "t = 80"}[name],
        "image",
    ]
    images = [[cell.images[0].get_array() for cell in row] for row in cells]
    expected, _ = drawn(models, tmp_path, steps=4) if name == "small" else (None, None)
    if expected is not None:
        assert np.array_equal(images[1][-1], expected[0])
    # Noise fills the range of grey levels, wherever it starts from.
    assert all(40 < np.asarray(row[0]).std() < 110 for row in images)


def test_batches_fill_the_device_and_fit_it(model, monkeypatch):
    assert batch_size(model) == 16
    monkeypatch.setattr(Model, "device", torch.device("cuda"))
    sizes = {}
    for size in (64, 128, 256, 512, 2048):
        model.facts["image_size"] = size
        sizes[size] = batch_size(model)
    assert sizes == {64: 128, 128: 128, 256: 32, 512: 8, 2048: 1}
