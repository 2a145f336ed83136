"""Making images healthy: by a diffusion model from part of the way, and by an autoencoder."""

import numpy as np
import pandas as pd
import pytest
import torch

from tests.untrained import DDPM, EDM, untrained
from workflow_scripts.anomaly.autoencoder import Autoencoder, halvings_of
from workflow_scripts.anomaly.heal_images import (
    as_healthy,
    heal,
    heal_images,
    part_of_the_way,
    seeds_of,
)
from workflow_scripts.anomaly.judged import judged_images, require_images
from workflow_scripts.anomaly.reconstruct_images import load_autoencoder, reconstruct_images
from workflow_scripts.anomaly.train_autoencoder import train_autoencoder
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import AUTOENCODER_LOG, IMAGES, SEEN
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.diffusion.model import load_model
from workflow_scripts.diffusion.sampler import plan

SIZE = 16
CLASSES = ["No Finding", "Effusion", "Pneumonia"]
SETTINGS = {"healthy": "No Finding", "steps": 3, "guidance": 2.0, "per_class": None, "seed": 3}
AUTOENCODER = {"latent": 8, "steps": 150, "batch_size": 16, "learning_rate": 0.003}


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Smooth films of three classes; those of a finding have a bright square."""
    folder = tmp_path_factory.mktemp("films")
    rng, count = np.random.default_rng(0), 180
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    a, b = rng.uniform(0.5, 1.5, (2, count, 1, 1))
    pixels = 60 + 40 * np.sin(3 * a * x) + 30 * np.cos(3 * b * y)
    number = np.arange(count)
    names = np.array(CLASSES)[number % 3]
    pixels[names != "No Finding", 4:10, 4:10] += 80
    np.save(folder / "films.npy", pixels.round().astype(np.uint8))
    table = pd.DataFrame(
        {
            "image_id": [f"{k:03d}.png" for k in number],
            "patient_id": [f"p{k}" for k in number],
            "class_id": number % 3,
            "class_name": names,
            "findings": names,
            "age_years": 50.0,
            "sex": "F",
            "view": np.where(number % 2, "AP", "PA"),
            "split": np.repeat(["train", "val", "test"], count // 3),
            "shard": "films",
            "row": number,
        }
    )
    write_table(table, folder / "images.parquet", IMAGES)
    return folder, table


@pytest.fixture(scope="module", params=[DDPM, EDM], ids=["ddpm", "edm"])
def folder(request, tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("model"), request.param)


@pytest.fixture
def x(films):
    pixels = np.load(films[0] / "films.npy")[:20]
    return torch.from_numpy(pixels)[:, None].float() / 127.5 - 1


def test_at_a_low_level_little_changes_and_at_a_high_one_the_image_is_forgotten(folder, x):
    """An untrained network says nothing of an image but what is left of it in the noise."""
    model = load_model(folder)
    c = model.conditions.vector("No Finding").expand(len(x), -1)
    seeds = seeds_of(1, map(str, range(len(x))))
    apart = [
        (heal(model, x, c, seeds, level, SETTINGS) - x).abs().mean().item() for level in (0.05, 8)
    ]
    assert apart[0] < 0.2 * apart[1]


def test_a_network_that_knows_the_image_gives_it_back(folder, x, monkeypatch):
    """With the right x_0 at every step, healing is the identity, whatever the level and the noise."""
    model, x = load_model(folder), x[:16]  # as many as the network sees at once
    monkeypatch.setattr(type(model.process), "denoise", lambda *_: torch.cat([x, x]))
    c = model.conditions.vector("No Finding").expand(16, -1)
    found = heal(model, x, c, seeds_of(1, map(str, range(16))), 2.0, SETTINGS)
    torch.testing.assert_close(found, x)


def test_an_image_s_healthy_version_depends_on_itself_alone(folder, x):
    model = load_model(folder)
    c = model.conditions.vector("No Finding").expand(len(x), -1)
    seeds = seeds_of(1, map(str, range(len(x))))
    together = heal(model, x, c, seeds, 1.0, SETTINGS)
    alone = heal(model, x[18:19], c[18:19], seeds[18:19], 1.0, SETTINGS)
    torch.testing.assert_close(together[18:19], alone, rtol=0, atol=0)
    other = heal(model, x[18:19], c[18:19], seeds[:1], 1.0, SETTINGS)
    assert not torch.equal(other, alone)


def test_denoising_starts_at_the_level_with_as_much_noise_as_it_says(folder):
    model = load_model(folder)
    for level in (0.5, 1.0, 4.0):
        first = plan(model.process, part_of_the_way(level, SETTINGS))[0]
        assert first.ratio == pytest.approx(level)


def test_a_level_beyond_the_process_is_refused(x, tmp_path):
    betas = {"schedule": "betas", "timesteps": 25, "betas": [0.1] * 25, "zero_terminal_snr": False}
    model = load_model(untrained(tmp_path, DDPM | betas))
    c = model.conditions.vector("No Finding")[None]
    with pytest.raises(InputError, match=r"3\.59\d* at most, and is to heal from 8"):
        heal(model, x[:1], c, seeds_of(1, ["a"]), 8.0, SETTINGS)


def test_conditions_are_the_image_s_own_but_for_the_finding(folder, films):
    model, rows = load_model(folder), films[1].iloc[:4]
    c = as_healthy(model, rows, "No Finding")
    for k, view in enumerate(rows["view"]):
        expected = model.conditions.vector("No Finding", view=view, sex="F", age=50)
        torch.testing.assert_close(c[k], expected)


def test_the_step_writes_the_judged_images_in_their_order(folder, films, tmp_path):
    where, table = films
    config = SETTINGS | {"level": 0.05, "device": "cpu", "precision": "fp32"}
    arguments = (where / "images.parquet", [where / "films.npy"], folder)
    heal_images(*arguments, tmp_path / "a.npy", config)
    found = np.load(tmp_path / "a.npy")
    rows = judged_images(table, None, 3)
    assert found.shape == (120, SIZE, SIZE)
    assert found.dtype == np.uint8
    pixels = np.load(where / "films.npy")[rows["row"]]
    assert np.abs(found.astype(int) - pixels).mean() < 20
    heal_images(*arguments, tmp_path / "b.npy", config | {"per_class": 5})
    own = rows["image_id"].isin(judged_images(table, 5, 3)["image_id"]).to_numpy()
    assert own.sum() == 30
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), found[own])


# -- the autoencoder


def test_it_gives_back_the_shape_it_was_given():
    for size, channels in ((16, 1), (24, 3), (96, 1), (50, 1)):
        model = Autoencoder(size, channels, 8)
        assert model(torch.zeros(2, channels, size, size)).shape == (2, channels, size, size)
    assert halvings_of(64) == 3
    assert halvings_of(256) == 5
    assert halvings_of(50) == 1


@pytest.fixture(scope="module")
def trained(films, tmp_path_factory):
    """An autoencoder of these films' healthy ones."""
    folder, _ = films
    out = tmp_path_factory.mktemp("autoencoder")
    train(folder / "images.parquet", folder, out)
    return out


def train(images, folder, out, settings=AUTOENCODER):
    paths = (out / "weights.safetensors", out / "log.parquet", out / "seen.parquet")
    train_autoencoder(images, [folder / "films.npy"], settings, "No Finding", 5, "cpu", *paths)


def test_the_autoencoder_sees_healthy_training_images_alone(films, trained):
    _, table = films
    seen = read_table(trained / "seen.parquet", SEEN)
    own = table[(table["split"] == "train") & (table["class_name"] == "No Finding")]
    assert seen["image_id"].tolist() == own["image_id"].tolist()
    log = read_table(trained / "log.parquet", AUTOENCODER_LOG)
    assert log["step"].iloc[-1] == 150
    assert log["validation_loss"].min() < 0.3 * log["validation_loss"].iloc[0]


def test_other_images_change_nothing_of_what_it_learns(films, trained, tmp_path):
    folder, table = films
    pixels = np.load(folder / "films.npy")
    others = (table["class_name"] != "No Finding") | (table["split"] == "test")
    pixels[others] = 255 - pixels[others]
    np.save(tmp_path / "films.npy", pixels)
    train(folder / "images.parquet", tmp_path, tmp_path)
    weights = (tmp_path / "weights.safetensors").read_bytes()
    assert weights == (trained / "weights.safetensors").read_bytes()


def test_an_image_with_several_findings_is_not_healthy(films, tmp_path):
    folder, table = films
    table = table.copy()
    table.loc[3, "findings"] = "No Finding|Effusion"
    write_table(table, tmp_path / "images.parquet", IMAGES)
    train(tmp_path / "images.parquet", folder, tmp_path, AUTOENCODER | {"steps": 2})
    assert "003.png" not in set(read_table(tmp_path / "seen.parquet", SEEN)["image_id"])


@pytest.mark.parametrize(
    ("split", "healthy", "said"),
    [
        ("train", True, "split train shows No Finding and nothing else, .* nothing to learn from"),
        ("val", True, r"split val shows No Finding .* to compare\. Give .* split\.fractions\.val"),
        ("test", True, "split test shows No Finding and"),
        ("val", False, "split val shows a finding of cohort.classes and nothing else, .* compare"),
        ("test", False, "split test shows a finding"),
    ],
)
def test_without_healthy_images_or_others_nothing_is_trained_or_healed(
    films, folder, tmp_path, split, healthy, said
):
    _, table = films
    gone = (table["split"] == split) & ((table["class_name"] == "No Finding") == healthy)
    # Images of several findings are no healthy ones, and none of a finding either.
    table = table.assign(findings=table["findings"].where(~gone, "Effusion|Pneumonia"))
    write_table(table, tmp_path / "images.parquet", IMAGES)
    with pytest.raises(InputError, match=said):
        train(tmp_path / "images.parquet", films[0], tmp_path)
    with pytest.raises(InputError, match=said):
        heal_images(
            tmp_path / "images.parquet", [films[0] / "films.npy"], folder, tmp_path / "a.npy",
            SETTINGS | {"level": 1.0, "device": "cpu", "precision": "fp32"},
        )  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["images.parquet"]


def test_a_training_split_of_healthy_images_alone_will_do(films):
    _, table = films
    require_images(
        table[(table["split"] != "train") | (table["class_name"] == "No Finding")], "No Finding"
    )


def test_it_reconstructs_health_and_not_what_it_never_saw(films, trained, tmp_path):
    folder, table = films
    settings = {"autoencoder": AUTOENCODER, "per_class": None, "seed": 3}
    arguments = (folder / "images.parquet", [folder / "films.npy"])
    reconstruct_images(
        *arguments, trained / "weights.safetensors", tmp_path / "a.npy", settings, "cpu"
    )
    found, rows = np.load(tmp_path / "a.npy"), judged_images(table, None, 3)
    pixels = np.load(folder / "films.npy")[rows["row"]]
    error = np.abs(found.astype(int) - pixels).mean(axis=(1, 2))
    well = (rows["class_name"] == "No Finding").to_numpy()
    assert error[well].mean() < 0.5 * error[~well].mean()


def test_weights_of_another_autoencoder_are_refused(films, trained):
    folder, table = films
    store = ImageStore(table, [folder / "films.npy"])
    assert load_autoencoder(trained / "weights.safetensors", store, AUTOENCODER)
    with pytest.raises(InputError, match="no autoencoder of these images"):
        load_autoencoder(trained / "weights.safetensors", store, AUTOENCODER | {"latent": 9})


def test_an_autoencoder_that_diverges_says_so(films, tmp_path):
    settings = AUTOENCODER | {"learning_rate": 1e20, "steps": 10}
    with pytest.raises(InputError, match=r"the autoencoder diverged.*learning_rate"):
        train(films[0] / "images.parquet", films[0], tmp_path, settings)
    assert not list(tmp_path.iterdir())
