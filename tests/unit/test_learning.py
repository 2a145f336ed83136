"""What the notebooks call: films through the steps, exact models, and what they are compared with."""

import math

import numpy as np
import pytest
import torch

from tests.untrained import DDPM, EDM, VP_SDE, untrained
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import IMAGES
from workflow_scripts.common.tables import read_table
from workflow_scripts.diffusion import process
from workflow_scripts.diffusion.model import load_model
from workflow_scripts.diffusion.process import CLEAN
from workflow_scripts.diffusion.sampler import plan
from workflow_scripts.diffusion.schedule import alpha_bars
from workflow_scripts.learning.films import small_dataset
from workflow_scripts.learning.forward import step_by_step
from workflow_scripts.learning.known import Known
from workflow_scripts.learning.small_model import loss_by_level, recipe
from workflow_scripts.learning.solving import judged, paths
from workflow_scripts.training.batches import read_split
from workflow_scripts.training.validation import validation_loss

CLASSES = ["No Finding", "Cardiomegaly", "Effusion"]


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return small_dataset(tmp_path_factory.mktemp("films"), 90, 16, CLASSES)


# Films


def test_films_are_those_of_the_workflow_and_no_patient_is_in_two_splits(films):
    images, shards = films
    table = read_table(images, IMAGES)
    assert set(table["class_name"]) == set(CLASSES)
    assert (table.groupby("patient_id")["split"].nunique() == 1).all()
    for split in ("train", "val", "test"):
        store = read_split(images, shards, split).store
        assert store.size == 16 and store.all().std() > 20


def test_too_few_patients_are_refused(tmp_path):
    with pytest.raises(InputError, match="in every split"):
        small_dataset(tmp_path, 12, 16, CLASSES[:2])


# The forward process


def test_steps_one_by_one_come_to_the_closed_form():
    alpha_bar = alpha_bars(DDPM | {"zero_terminal_snr": False, "timesteps": 50}, 64)
    x = step_by_step(torch.full((20_000,), 0.6), alpha_bar, seed=3).double()
    assert x.shape == (50, 20_000)
    for t in (0, 20, 49):
        near = 4 / math.sqrt(x.shape[1])
        assert (x[t].mean() - alpha_bar[t].sqrt() * 0.6).abs() < near
        assert (x[t].std() - (1 - alpha_bar[t]).sqrt()).abs() < near
    # A step of a chain, not a fresh draw each time.
    assert torch.corrcoef(x[20:22])[0, 1] > 0.8


# Models whose answers are exact


@pytest.mark.parametrize("diffusion", [DDPM, VP_SDE, EDM])
def test_the_expected_image_is_the_mean_of_those_that_could_be_behind_the_noise(diffusion):
    model = Known(diffusion, [-0.5, 0.4], [0.1, 0.2], image_size=2)
    level = model.process.level_at(0.8)
    stream = torch.Generator().manual_seed(1)
    which = torch.randint(2, (400_000,), generator=stream)
    grey = model.means[which] + model.deviations[which] * torch.randn(400_000, generator=stream)
    eps = torch.randn(400_000, 1, 2, 2, generator=stream)
    x = level.alpha * grey.float()[:, None, None, None] + level.sigma * eps
    seen = x.mean(dim=(1, 2, 3))
    for value in (-0.3, 0.0, 0.5):
        close = (seen / level.alpha - value).abs() < 0.01
        asked = torch.full((1, 1, 2, 2), level.alpha * value)
        answer = model.denoise(asked, level, model.conditions.vector()[None])
        assert answer.unique().numel() == 1
        assert answer[0, 0, 0, 0] == pytest.approx(grey[close].mean().item(), abs=0.02)
        told = model.denoise(asked, level, model.conditions.vector("class 1")[None])
        of_one = grey[close & (which == 1)].mean().item()
        assert told[0, 0, 0, 0] == pytest.approx(of_one, abs=0.02)
    share, edges = np.histogram(seen, bins=30, range=(-1, 1), density=False)
    expected = model.density(torch.from_numpy((edges[1:] + edges[:-1]) / 2), level)
    share = share / len(seen) / (edges[1] - edges[0])
    assert np.abs(share - expected.numpy()).max() < 0.03


def test_what_is_not_stated_may_be_any_class():
    model = Known(DDPM, [-0.5, 0.0, 0.5], [0.1] * 3)
    values = torch.linspace(-3, 3, 2001)
    for finding, mean in (None, 0.0), ("class 2", 0.5), (["class 0", "class 1"], -0.25):
        density = model.density(values, CLEAN, finding)
        assert torch.trapezoid(density, values) == pytest.approx(1, abs=1e-6)
        assert torch.trapezoid(values * density, values) == pytest.approx(mean, abs=1e-6)


def test_samples_follow_the_class_asked_for_and_guidance_leads_away_from_the_others():
    model = Known(DDPM, [-0.4, 0.4], [0.2, 0.2])
    way = {"method": "dpm++2m", "steps": 30}
    levels, x = paths(model, "class 0", 4000, **way)
    assert len(levels) == len(x) == 31 and levels[-1] == CLEAN
    assert x[-1].mean() == pytest.approx(-0.4, abs=0.02)
    assert x[-1].std() == pytest.approx(0.2, rel=0.05)
    assert paths(model, None, 4000, **way)[1][-1].mean() == pytest.approx(0, abs=0.04)
    _, guided = paths(model, "class 0", 4000, guidance=4.0, **way)
    assert guided[-1].mean() < -0.5 and guided[-1].std() < 0.17
    wide = Known(DDPM, [-0.4, 0.4], [0.4, 0.4])
    _, auto = paths(model, "class 0", 4000, guidance=2.0, guide=wide, **way)
    assert auto[-1].mean() == pytest.approx(-0.4, abs=0.02) and auto[-1].std() < 0.18


def test_a_last_step_that_is_no_pure_noise_gives_grey_images():
    # As published, with a tenth of the steps: 60 % of the image is left at the end.
    betas = torch.linspace(1e-4, 0.02, 100).tolist()
    flawed = DDPM | {"schedule": "betas", "betas": betas, "zero_terminal_snr": False}
    way = {"method": "ddim", "steps": 50}
    _, x = paths(Known(flawed, [-0.4], [0.15], image_size=32), None, 200, **way)
    assert x[-1].mean() > -0.1 and x[-1].std() < 0.06
    _, x = paths(Known(DDPM, [-0.4], [0.15], image_size=32), None, 200, **way)
    assert x[-1].mean() == pytest.approx(-0.4, abs=0.05) and x[-1].std() > 0.12


def test_solvers_are_judged_by_the_exact_flow():
    model = Known(VP_SDE, [0.2], [0.3])
    way = {"spacing": "log_snr", "sigma_min": 0.01, "sigma_max": 80.0}
    table = judged(model, ["ddim", "heun", "ddpm"], [20, 40, 80], 500, **way)
    ddim, heun, ddpm = (table[table["method"] == name] for name in ("ddim", "heun", "ddpm"))
    assert ddim["evaluations"].tolist() == [20, 40, 80]
    assert heun["evaluations"].tolist() == [39, 79, 159]
    for rows, order in (ddim, 1), (heun, 2):
        falls = rows["error"].to_numpy()[:-1] / rows["error"].to_numpy()[1:]
        assert falls == pytest.approx(2**order, rel=0.2)
    assert ddpm["error"].isna().all()
    assert ddpm["spread"].is_monotonic_increasing and 0.8 < ddpm["spread"].iloc[-1] < 1.1


def test_the_flow_of_several_classes_is_not_known():
    model = Known(DDPM, [-0.5, 0.5], [0.1, 0.1])
    first, *_, last = plan(model.process, {"method": "ddim", "steps": 4, "spacing": "auto"} | ENDS)
    with pytest.raises(ValueError, match="one class"):
        model.flow(torch.zeros(3), first, last)


ENDS = {"sigma_min": None, "sigma_max": None}


# Small models


def test_the_recipe_is_the_recommended_one_but_for_what_is_changed():
    plain = recipe()
    changed = recipe(
        network={"channels": [8]}, diffusion={"prediction": "epsilon"}, conditions=["finding"]
    )
    assert changed["network"] == plain["network"] | {"channels": [8]}
    assert changed["diffusion"] == plain["diffusion"] | {"prediction": "epsilon"}
    assert changed["conditions"] == ["finding"]
    assert changed["training"] == plain["training"]


def test_losses_by_level_are_those_of_validation_level_by_level(films, tmp_path):
    model = load_model(untrained(tmp_path, conditions={"finding": CLASSES}))
    split = read_split(*films, "val")
    table = loss_by_level(model, split, [0.1, 0.3, 0.5, 0.7, 0.9])
    assert table["ratio"].is_monotonic_increasing
    together = validation_loss(model.network, model.process, model.conditions, split)
    assert table["loss"].mean() == pytest.approx(together, rel=0.1)
    # x̂_0 = α x_t − σ v: an error of v weighs σ in it.
    sigma = table["ratio"] / np.hypot(1, table["ratio"])
    assert (table["error"] / sigma).to_numpy() == pytest.approx(np.sqrt(table["loss"]), rel=1e-3)


def test_losses_by_level_are_of_the_noise_that_the_model_was_trained_with(
    films, tmp_path, monkeypatch
):
    model = load_model(untrained(tmp_path, DDPM | {"noise": "simplex"}, {"finding": CLASSES}))
    drawn = []

    def smooth(seeds, draw, shape):
        drawn.append(len(seeds))
        return torch.zeros(len(seeds), *shape)

    monkeypatch.setattr(process, "simplex_noise", smooth)
    split = read_split(*films, "val")
    loss_by_level(model, split, [0.2, 0.5])
    assert drawn == 2 * [len(split.table)]
