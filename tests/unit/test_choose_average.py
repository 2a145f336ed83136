"""The length of the average is chosen by validation, and the model loads with diffusers alone."""

import json
import math
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest
import torch
from diffusers import UNet2DModel
from PIL import Image
from safetensors.torch import load_file
from small_training import (
    CLASSES,
    DIFFUSION,
    FACTS,
    MODEL,
    TRAINING,
    VALUES,
    outputs,
    run,
    write_images,
)

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.runtime import log
from workflow_scripts.common.schemas import AVERAGES, SEEN, TRAINING_LOG
from workflow_scripts.common.tables import read_table
from workflow_scripts.diffusion.model import load_model
from workflow_scripts.training.at_once import train_and_choose
from workflow_scripts.training.batches import read_split
from workflow_scripts.training.checkpoint import checkpoints_of
from workflow_scripts.training.choose_average import choose_average
from workflow_scripts.training.ema import coefficients, combined
from workflow_scripts.training.plot_training import plot_forward, plot_loss
from workflow_scripts.training.train_diffusion import AVERAGE_NAMES
from workflow_scripts.training.validation import validation_loss

VP = {"resolution_shift": False, "prediction": "epsilon", "weighting": "none", "min_snr_gamma": 5}
PROCESSES = {
    "ddpm": DIFFUSION,
    "vp_sde": {"process": "vp_sde", "loss": "l2"} | VP,
    "edm": {"process": "edm", "loss": "l2", "p_mean": -1.2, "p_std": 1.2},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with images and a trained model, its average chosen."""
    folder = tmp_path_factory.mktemp("trained")
    images, shards = write_images(folder)
    run(folder, images, shards, model=MODEL | {"training": TRAINING | {"steps": 60}})
    choose(folder, folder)
    return folder


def choose(folder, into):
    """Choose the average of the model trained in one folder, into another."""
    choose_average(
        folder / "images.parquet",
        [folder / "films.npy"],
        folder / "ema" / "short.safetensors",
        folder / "ema" / "long.safetensors",
        into / "unet" / "config.json",
        into / "unet" / "diffusion_pytorch_model.safetensors",
        into / "average.parquet",
        {"ema": [0.05, 0.1], "device": "cpu", "precision": "fp32"},
    )


class Named(dict):
    """Files by name, as Snakemake hands them to a step."""

    __getattr__ = dict.__getitem__


def test_a_model_made_in_one_step_is_that_of_two(trained, tmp_path):
    made = {name: tmp_path / "ema" / f"{name}.safetensors" for name in AVERAGE_NAMES} | {
        "model": tmp_path / "model.json",
        "log": tmp_path / "training_log.parquet",
        "progress": tmp_path / "progress.png",
        "seen": tmp_path / "seen.parquet",
        "unet": tmp_path / "unet" / "config.json",
        "weights": tmp_path / "unet" / "diffusion_pytorch_model.safetensors",
        "average": tmp_path / "average.parquet",
    }
    job = SimpleNamespace(
        input=Named(images=trained / "images.parquet", shards=[trained / "films.npy"]),
        output=Named(made),
        params=Named(code="code"),
        resources={},
    )
    config = {"model": MODEL | {"training": TRAINING | {"steps": 60}}, "classes": CLASSES}
    config |= {"precision": "fp32", "device": "cpu", "processes": 1, "checkpoint_minutes": 10}
    train_and_choose(job, config)
    found = outputs(tmp_path)
    assert {tmp_path / name for name in found} == set(made.values())
    for name in found.keys() - {"seen.parquet"}:
        assert found[name] == (trained / name).read_bytes(), name
    seen = read_table(made["seen"], SEEN)
    assert len(seen) == len(read_split(job.input.images, job.input.shards, "train").table)
    assert list(checkpoints_of(made["model"]).iterdir()), "which the step clears when it is over"


def held_out_loss(folder, model):
    split = read_split(folder / "images.parquet", [folder / "films.npy"], "val")
    return validation_loss(model.network, model.process, model.conditions, split)


def test_the_length_with_the_lowest_validation_loss_is_chosen(trained):
    table = read_table(trained / "average.parquet", AVERAGES)
    assert table["sigma_rel"].iloc[[0, -1]].tolist() == [0.05, 0.1]
    assert table["sigma_rel"].is_monotonic_increasing
    assert table["chosen"].sum() == 1
    best = table.loc[table["chosen"]].iloc[0]
    assert best["validation_loss"] == table["validation_loss"].min()
    assert table["validation_loss"].nunique() == len(table)
    assert held_out_loss(trained, load_model(trained)) == pytest.approx(best["validation_loss"])
    for name, row in (("short", 0), ("long", -1)):
        model = load_model(trained, weights=trained / "ema" / f"{name}.safetensors")
        expected = table["validation_loss"].iloc[row]
        assert held_out_loss(trained, model) == pytest.approx(expected)


def test_a_loss_that_is_no_number_is_never_chosen(trained, tmp_path, monkeypatch):
    where = "workflow_scripts.training.choose_average.validation_loss"
    losses = [math.nan, 0.3, 0.2, math.nan, math.inf]
    monkeypatch.setattr(where, lambda *_: losses.pop(0))
    choose(trained, tmp_path)
    table = read_table(tmp_path / "average.parquet", AVERAGES)
    assert table["validation_loss"].tolist() == [math.inf, 0.3, 0.2, math.inf, math.inf]
    assert table["chosen"].tolist() == [False, False, True, False, False]
    monkeypatch.setattr(where, lambda *_: math.nan)
    with pytest.raises(InputError, match=r"no average.*finite loss.*Lower training\.learning_rate"):
        choose(trained, tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_the_chosen_weights_are_made_from_the_two_averages_and_load_with_diffusers(trained):
    table = read_table(trained / "average.parquet", AVERAGES)
    width = table["sigma_rel"][table["chosen"]].item()
    short, long = (load_file(trained / "ema" / f"{name}.safetensors") for name in ("short", "long"))
    expected = combined(short, long, coefficients((0.05, 0.1), width))
    unet = UNet2DModel.from_pretrained(
        trained / "unet", use_safetensors=True, low_cpu_mem_usage=False
    )
    found = {f"unet.{name}": tensor for name, tensor in unet.state_dict().items()}
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    names = {path.name: path for path in (trained / "unet").iterdir()}
    assert sorted(names) == ["config.json", "diffusion_pytorch_model.safetensors"]
    (trained / "as usual").touch()
    assert {path.stat().st_mode for path in names.values()} == {
        (trained / "as usual").stat().st_mode
    }


def test_the_facts_of_a_model_are_measured(trained):
    facts = json.loads((trained / "model.json").read_text())
    split = read_split(trained / "images.parquet", [trained / "films.npy"], "train")
    assert facts["sigma_data"] == pytest.approx((split.store.all() / 127.5 - 1).std())
    assert facts["conditions"] == VALUES
    assert {name: facts[name] for name in ("image_size", "network", "diffusion")} == {
        name: FACTS[name] for name in ("image_size", "network", "diffusion")
    }
    unet = load_model(trained).network.unet
    assert facts["parameters"] == sum(parameter.numel() for parameter in unet.parameters())
    # By hand: every weight of a convolution once per pixel of its output, of a matrix once.
    macs = []

    def count(module, inputs, output):
        macs.append(module.weight.numel() * (output[0, 0].numel() if output.ndim == 4 else 1))

    for module in unet.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear | torch.nn.Embedding):
            module.register_forward_hook(count)
    unet(torch.zeros(1, 4, 8, 8), torch.zeros(1), torch.zeros(1, 7))
    assert facts["macs"] == sum(macs)


def test_the_validation_loss_is_of_fixed_noise_and_leaves_random_states_alone(trained):
    model = load_model(trained)
    state = torch.get_rng_state()
    assert held_out_loss(trained, model) == held_out_loss(trained, model)
    assert torch.equal(torch.get_rng_state(), state)
    other = load_model(trained, weights=trained / "ema" / "early.safetensors")
    assert held_out_loss(trained, other) > held_out_loss(trained, model)


def test_a_finished_training_says_what_it_did(trained, tmp_path, caplog):
    images, shards = trained / "images.parquet", [trained / "films.npy"]
    with caplog.at_level("INFO", logger=log.name):
        run(tmp_path, images, shards)
    assert "0.04 million parameters, 1 million multiply-adds per image, fp32" in caplog.text
    rows = read_table(tmp_path / "training_log.parquet", TRAINING_LOG)
    assert rows["step"].tolist() == list(range(1, 21))
    with Image.open(tmp_path / "progress.png") as picture:
        assert picture.width > 8 * 16


@pytest.mark.parametrize("process", PROCESSES)
def test_the_forward_strip_goes_from_the_image_to_noise(trained, tmp_path, process, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "workflow_scripts.training.plot_training.save_figure",
        lambda figure, path, dpi: drawn.extend(figure.axes) or plt.close(figure),
    )
    facts = tmp_path / "model.json"
    facts.write_text(json.dumps(FACTS | {"diffusion": PROCESSES[process]}))
    images, shards = trained / "images.parquet", [trained / "films.npy"]
    plot_forward(images, shards, facts, tmp_path / "strip.png", seed=1)
    pixels = [torch.from_numpy(axis.images[0].get_array().data.copy()).float() for axis in drawn]
    alike = [torch.corrcoef(torch.stack([pixels[0], p]).flatten(1))[0, 1].item() for p in pixels]
    assert len(pixels) == 11
    assert alike[1] > 0.9 > 0.5 > abs(alike[-1])
    labels = [axis.get_title() for axis in drawn]
    assert len(set(labels)) == 11
    assert labels[-1].startswith({"ddpm": "t = 999", "vp_sde": "t = 1.00", "edm": "σ = 1"}[process])


def test_the_loss_curve_is_drawn(trained, tmp_path):
    plot_loss(trained / "training_log.parquet", tmp_path / "curve.png")
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.size > (1000, 600)
