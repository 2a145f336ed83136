"""The classifier: its contract, what it may see, and that it learns."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.several import with_several
from workflow_scripts.classifier.network import BACKBONES, build
from workflow_scripts.classifier.train_domain_classifier import train_domain_classifier
from workflow_scripts.classifier.training import (
    augment,
    balanced_order,
    natural_order,
    predict,
    train,
)
from workflow_scripts.classifier.weights import load, read_metadata, save
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.pixels import to_input
from workflow_scripts.common.schemas import CLASSIFIER_LOG, IMAGES, SEEN
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table, write_table

CPU = torch.device("cpu")
SETTINGS = {
    "backbone": "small",
    "steps": 30,
    "batch_size": 32,
    "learning_rate": 0.003,
    "weight_decay": 0.05,
    "seed": 3,
}
CLASSES = ["No Finding", "Cardiomegaly"]


def films(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a disc that is wide in class 1 and narrow in class 0."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    y, x = np.mgrid[:32, :32]
    radius = np.where(labels, 10, 5)[:, None, None] + rng.normal(0, 1, (count, 1, 1))
    disc = (x - 16) ** 2 + (y - 16) ** 2 < radius**2
    images = 90 + 60 * disc + rng.normal(0, 15, (count, 32, 32))
    return images.clip(0, 255).astype(np.uint8), labels


@pytest.fixture
def dataset(tmp_path):
    """A store on disk with its image table: 240 training images, 60 test images."""
    images, labels = films(300, seed=0)
    np.save(tmp_path / "part.npy", images)
    table = pd.DataFrame(
        {
            "image_id": [f"{number:04d}" for number in range(300)],
            "patient_id": [f"p{number // 2}" for number in range(300)],
            "class_id": labels,
            "class_name": np.array(CLASSES)[labels],
            "findings": np.array(CLASSES)[labels],
            "age_years": np.full(300, 50.0),
            "sex": "F",
            "view": "PA",
            "split": np.where(np.arange(300) < 240, "train", "test"),
            "shard": "part",
            "row": np.arange(300),
        }
    )
    write_table(table, tmp_path / "images.parquet", IMAGES)
    return tmp_path, table


@pytest.mark.parametrize("backbone", BACKBONES)
def test_backbones_map_grey_images_to_features_and_logits(backbone):
    model = build(backbone, classes=6).eval()
    images = torch.zeros(2, 1, 64, 64)
    features = model.features(images)
    assert features.shape == (2, model.width)
    assert torch.equal(model.head(features), model(images))
    assert model(images).shape == (2, 6)


def test_unknown_backbone_is_refused():
    with pytest.raises(ValueError, match="resnet9000"):
        build("resnet9000", 2)


def test_small_backbone_is_small():
    assert 3e5 < sum(weight.numel() for weight in build("small", 6).parameters()) < 6e5


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=40).map(np.array),
    length=st.integers(1, 200),
)
def test_order_shows_every_class_and_every_image_of_a_class_equally_often(labels, length):
    order = balanced_order(labels, length, np.random.default_rng(0))
    assert len(order) == length
    per_class = [np.sum(labels[order] == label) for label in np.unique(labels)]
    assert max(per_class) - min(per_class) <= 1
    for label in np.unique(labels):
        times = np.bincount(order, minlength=len(labels))[labels == label]
        assert times.max() - times.min() <= 1


@given(count=st.integers(1, 40), length=st.integers(0, 200))
def test_natural_order_shows_every_image_equally_often_whatever_its_class(count, length):
    labels = np.zeros(count, dtype=int)
    order = natural_order(labels, length, np.random.default_rng(0))
    assert len(order) == length
    times = np.bincount(order, minlength=count)
    assert times.max() - times.min() <= 1
    assert len(set(order[:count])) == min(count, length)


def test_natural_order_keeps_rare_classes_rare_and_balanced_order_does_not():
    labels = np.repeat([0, 1], [90, 10])
    rng = np.random.default_rng(0)
    assert labels[natural_order(labels, 200, rng)].mean() == 0.1
    assert labels[balanced_order(labels, 200, rng)].mean() == 0.5


def test_augmentation_never_mirrors_and_stays_near():
    marker = torch.full((200, 1, 32, 32), -1.0)
    marker[:, :, 12:20, 2:8] = 1.0  # on the image's left
    moved = augment(marker, np.random.default_rng(1))
    left, right = moved[..., :16].mean((1, 2, 3)), moved[..., 16:].mean((1, 2, 3))
    assert bool((left > right).all())
    assert moved.shape == marker.shape
    assert not torch.equal(moved[0], moved[1])


def test_input_contract():
    images = np.array([[[0, 255], [51, 204]]], dtype=np.uint8)
    expected = torch.tensor([[[[-1.0, 1.0], [-0.6, 0.6]]]])
    torch.testing.assert_close(to_input(images, CPU), expected)
    with pytest.raises(TypeError, match="float32"):
        to_input(images.astype(np.float32), CPU)
    with pytest.raises(TypeError):
        to_input(images[0], CPU)


def test_learns_and_is_the_same_twice_and_differs_by_seed(dataset):
    folder, table = dataset
    store = ImageStore(table, [folder / "part.npy"])
    labels = table["class_id"].to_numpy()
    positions, held_out = np.arange(240), np.arange(240, 300)
    state = torch.random.get_rng_state()
    runs = [train(store, labels, SETTINGS, 2, seed, CPU, positions) for seed in (3, 3, 4)]
    assert torch.equal(state, torch.random.get_rng_state())  # leaves torch's own stream alone
    chances = [predict(model, store, CPU, held_out) for model in runs]
    assert chances[0].shape == (60, 2)
    assert chances[0].dtype == np.float32
    np.testing.assert_allclose(chances[0].sum(axis=1), 1, rtol=1e-5)
    assert (chances[0].argmax(1) == labels[held_out]).mean() > 0.9
    np.testing.assert_array_equal(chances[0], chances[1])
    assert not np.array_equal(chances[0], chances[2])
    whole = predict(runs[0], store, CPU)
    np.testing.assert_allclose(whole[240:], chances[0], atol=1e-5)
    assert predict(runs[0], store, CPU, np.array([], dtype=int)).shape == (0, 2)


def test_predictions_are_made_in_float32(dataset, monkeypatch):
    folder, table = dataset
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    predict(build("small", 2), ImageStore(table, [folder / "part.npy"]), CPU, np.arange(2))
    assert not torch.backends.cudnn.allow_tf32


def test_unvaried_images_are_learnt_as_they_are(dataset):
    folder, table = dataset
    store, labels = ImageStore(table, [folder / "part.npy"]), table["class_id"].to_numpy()
    settings = SETTINGS | {"steps": 3}
    plain = [train(store, labels, settings, 2, seed, CPU, augmented=False) for seed in (3, 3)]
    varied = train(store, labels, settings, 2, 3, CPU)
    chances = [predict(model, store, CPU, np.arange(9)) for model in (*plain, varied)]
    np.testing.assert_array_equal(chances[0], chances[1])
    assert not np.array_equal(chances[0], chances[2])


@pytest.mark.parametrize("steps", [1, 4, 5])
def test_the_first_half_of_the_steps_sees_other_images(dataset, steps):
    folder, table = dataset
    gathered = []

    class Watched(ImageStore):
        def gather(self, positions):
            gathered.append(positions)
            return super().gather(positions)

    store, labels = Watched(table, [folder / "part.npy"]), table["class_id"].to_numpy()
    history: list[dict] = []
    first, then = np.arange(100), np.arange(100, 240)
    settings = SETTINGS | {"steps": steps}
    train(store, labels, settings, 2, 3, CPU, then, history, first=first)
    assert len(gathered) == len(history) == steps
    half = steps // 2
    assert all(np.isin(batch, first).all() for batch in gathered[:half])
    assert all(np.isin(batch, then).all() for batch in gathered[half:])


def test_step_sees_the_training_split_alone_and_writes_the_same_bytes(dataset, tmp_path):
    folder, table = dataset
    outputs = []
    for run in ("a", "b"):
        if run == "b":  # the other splits' pixels and labels may be anything, and so may images
            # with several findings
            pixels = np.load(folder / "part.npy")
            pixels[240:] = 255 - pixels[240:]
            np.save(folder / "part.npy", pixels)
            table.loc[240:, ["class_id", "class_name"]] = [0, CLASSES[0]]
            table = with_several(table)
            write_table(table, folder / "images.parquet", IMAGES)
        weights, history = tmp_path / f"{run}.safetensors", tmp_path / f"{run}.parquet"
        seen = tmp_path / f"{run}_seen.parquet"
        train_domain_classifier(
            folder / "images.parquet",
            [folder / "part.npy"],
            SETTINGS | {"steps": 5},
            CLASSES,
            "cpu",
            weights,
            history,
            seen,
        )
        outputs.append((weights.read_bytes(), history.read_bytes(), seen.read_bytes()))
    assert outputs[0] == outputs[1]
    described = read_metadata(weights)
    assert (described["images"], described["patients"], described["split"]) == (
        "240",
        "120",
        "train",
    )
    assert json.loads(described["class_names"]) == CLASSES
    assert len(read_table(history, CLASSIFIER_LOG)) == 5
    recorded = read_table(seen, SEEN)
    assert list(recorded["image_id"]) == [f"{number:04d}" for number in range(240)]
    assert list(recorded["patient_id"]) == [f"p{number // 2}" for number in range(240)]


def test_step_stops_at_a_patient_in_two_splits(dataset, tmp_path):
    folder, table = dataset
    table.loc[299, "patient_id"] = "p0"
    write_table(table, folder / "images.parquet", IMAGES)
    with pytest.raises(InputError, match="another split"):
        train_domain_classifier(
            folder / "images.parquet",
            [folder / "part.npy"],
            SETTINGS,
            CLASSES,
            "cpu",
            tmp_path / "w.safetensors",
            tmp_path / "l.parquet",
            tmp_path / "s.parquet",
        )


@pytest.mark.parametrize("backbone", ["small", "resnet18"])
def test_weights_survive_the_disk(backbone, tmp_path):
    torch.manual_seed(0)
    model = build(backbone, 3).eval()
    for name in ("a", "b"):
        save(model, tmp_path / f"{name}.safetensors", {"z": "1", "a": "2", "m": "3"})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    again = load(tmp_path / "a.safetensors", CPU)
    images = torch.randn(2, 1, 64, 64)
    torch.testing.assert_close(again(images), model(images))
    assert read_metadata(tmp_path / "a.safetensors")["z"] == "1"


def test_foreign_weights_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"other\.safetensors"):
        load(tmp_path / "other.safetensors", CPU)
