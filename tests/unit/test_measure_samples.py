"""All measures of one image set: what is compared with what, and what each row says."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision

from tests.several import with_several
from workflow_scripts.classifier.train_domain_classifier import train_domain_classifier
from workflow_scripts.common.files import sha256_of
from workflow_scripts.common.schemas import CONFUSION, IMAGES, METRICS, SAMPLES
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.evaluate.extract_features import extract_features
from workflow_scripts.evaluate.measure_samples import FeatureSpace, measure_samples
from workflow_scripts.evaluate.measures import SETS, Pictures, distance_rows, diversity_rows
from workflow_scripts.evaluate.subsets import equal_subsets, members

CLASSES = ["No Finding", "Cardiomegaly"]
COUNTS = {"train": 40, "val": 14, "test": 12}  # images per class
PER_CLASS = 20  # synthetic
SETTINGS = {
    "backbone": "small",
    "steps": 40,
    "batch_size": 32,
    "learning_rate": 0.003,
    "weight_decay": 0.05,
    "seed": 3,
}


def films(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise with a disc that is wide in class 1 and narrow in class 0."""
    y, x = np.mgrid[:32, :32]
    radius = np.where(labels, 10, 5)[:, None, None] + rng.normal(0, 1, (len(labels), 1, 1))
    disc = (x - 16) ** 2 + (y - 16) ** 2 < radius**2
    noise = rng.normal(0, 15, (len(labels), 32, 32))
    return (90 + 60 * disc + noise).clip(0, 255).astype(np.uint8)


def synthetic(kind: str, images: pd.DataFrame, pixels: np.ndarray) -> np.ndarray:
    """Images of both classes, class by class: as the real ones, with classes swapped, or noise."""
    rng = np.random.default_rng(5)
    labels = np.repeat([0, 1], PER_CLASS)
    if kind == "noise":
        return rng.integers(0, 256, (2 * PER_CLASS, 32, 32), dtype=np.uint8)
    return films(labels if kind == "good" else 1 - labels, rng)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A data set on disk, its classifier and its features, and three sets of synthetic images."""
    folder = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    split = np.concatenate([np.repeat(name, 2 * count) for name, count in COUNTS.items()])
    labels = np.arange(len(split)) % 2
    pixels = films(labels, rng)
    np.save(folder / "part.npy", pixels)
    images = pd.DataFrame(
        {
            "image_id": [f"{number:04d}" for number in range(len(split))],
            "patient_id": [f"p{number // 4}" for number in range(len(split))],
            "class_id": labels,
            "class_name": np.array(CLASSES)[labels],
            "findings": np.array(CLASSES)[labels],
            "age_years": 50.0,
            "sex": "F",
            "view": "PA",
            "split": split,
            "shard": "part",
            "row": np.arange(len(split)),
        }
    )
    write_table(images, folder / "images.parquet", IMAGES)
    shards = [folder / "part.npy"]
    weights = folder / "domain.safetensors"
    train_domain_classifier(
        folder / "images.parquet", shards, SETTINGS, CLASSES, "cpu", weights, folder / "log.parquet"
    )
    extract_features(
        "domain", weights, folder / "images.parquet", shards, "cpu", folder / "real.npy"
    )
    for kind in ("good", "swapped", "noise"):
        here = folder / kind
        here.mkdir()
        drawn = synthetic(kind, images, pixels)
        samples = []
        for number, name in enumerate(CLASSES):
            stem = f"{name.lower().replace(' ', '_')}_000"
            np.save(here / f"{stem}.npy", drawn[number * PER_CLASS : (number + 1) * PER_CLASS])
            samples.append(
                pd.DataFrame(
                    {
                        "image_id": [f"{stem}_{row}" for row in range(PER_CLASS)],
                        "shard": stem,
                        "row": np.arange(PER_CLASS),
                        "class_id": number,
                        "class_name": name,
                        "seed": np.arange(PER_CLASS),
                    }
                )
            )
        table = pd.concat(samples).sort_values("image_id")
        write_table(table, here / "samples.parquet", SAMPLES)
        extract_features(
            "domain",
            weights,
            here / "samples.parquet",
            sorted(here.glob("*_000.npy")),
            "cpu",
            here / "features.npy",
        )
    torch.manual_seed(0)
    backbone = torchvision.models.squeezenet1_1(weights=None)
    torch.save(backbone.state_dict(), folder / "squeeze.pt")
    return folder


def measure(world: Path, kind: str, output: Path, seed: int = 4, lpips: bool = False) -> Path:
    domain = FeatureSpace(
        "domain", world / "domain.safetensors", world / "real.npy", world / kind / "features.npy"
    )
    measure_samples(
        images=world / "images.parquet",
        shards=[world / "part.npy"],
        samples=world / kind / "samples.parquet",
        sample_shards=sorted((world / kind).glob("*_000.npy")),
        spaces=[domain],
        classifier=domain,
        lpips={"squeeze": world / "squeeze.pt"} if lpips else {},
        pairs=12,
        seed=seed,
        classes=CLASSES,
        metrics=output / "metrics.parquet",
        confusion_table=output / "confusion.parquet",
        confusion_figure=output / "confusion.png",
    )
    return output


@pytest.fixture(scope="module")
def measured(world, tmp_path_factory) -> dict[str, Path]:
    return {
        kind: measure(world, kind, tmp_path_factory.mktemp(kind), lpips=kind == "good")
        for kind in ("good", "swapped", "noise")
    }


def rows(folder: Path) -> pd.DataFrame:
    table = read_table(folder / "metrics.parquet", METRICS)
    return table.set_index(["metric", "class_name"])


def test_every_measure_has_its_rows_its_floor_and_its_n(world, measured):
    table = rows(measured["good"])
    labels = ["pooled", *CLASSES]
    assert sorted(table.index) == sorted(
        [("frechet_distance", "pooled")]
        + [
            (metric, label)
            for metric in (
                "kernel_distance",
                "ssim_diversity",
                "lpips_diversity",
                "class_accuracy",
                "memorised_fraction",
                "closer_to_train",
            )
            for label in labels
        ]
    )
    assert table[["value", "floor", "train"]].notna().all(axis=None)
    # The poorest set is the test split: 12 of each class.
    kernel = table.loc["kernel_distance"]
    assert kernel["n"].to_dict() == {"pooled": 24, "No Finding": 12, "Cardiomegaly": 12}
    assert kernel["n_reference"].equals(kernel["n"])
    assert table.loc["class_accuracy", "n"].to_dict() == {
        "pooled": 40,
        "No Finding": 20,
        "Cardiomegaly": 20,
    }
    assert table.loc[("class_accuracy", "pooled"), "n_reference"] == 28
    assert table.loc["ssim_diversity", "n"].to_dict()["No Finding"] == 12
    assert set(table.loc["frechet_distance", "interval"]) == {"none"}
    inside = table[table["interval"] != "none"]
    assert ((inside["low"] <= inside["value"]) & (inside["value"] <= inside["high"])).all()
    domain = table[table["extractor"] == "domain"]
    assert set(domain["weights_sha256"]) == {sha256_of(world / "domain.safetensors")}
    assert set(table.loc["lpips_diversity", "weights_sha256"]) == {sha256_of(world / "squeeze.pt")}


def test_no_published_name_without_the_published_weights(measured):
    names = " ".join(rows(measured["good"])["name"])
    for published in ("FID", "KID", "LPIPS"):
        assert published not in names


def test_good_images_stand_at_the_floor_and_bad_ones_far_from_it(measured):
    good, swapped, noise = (rows(measured[kind]) for kind in ("good", "swapped", "noise"))
    for label in CLASSES:
        cell = good.loc[("kernel_distance", label)]
        assert cell["low"] <= 0
        for bad in (swapped, noise):
            assert bad.loc[("kernel_distance", label), "low"] > max(0, 3 * cell["floor"])
    frechet = [table.loc[("frechet_distance", "pooled"), "value"] for table in (good, noise)]
    assert frechet[1] > 3 * frechet[0]
    # Swapping classes does not change what all classes look like together.
    assert swapped.loc[("kernel_distance", "pooled"), "low"] <= 0
    assert good.loc[("ssim_diversity", "pooled"), "value"] == pytest.approx(1, abs=0.1)


def test_class_accuracy_and_confusion(measured):
    for kind, expected in (("good", 1.0), ("swapped", 0.0)):
        cell = rows(measured[kind]).loc[("class_accuracy", "pooled")]
        assert cell["value"] == pytest.approx(expected, abs=0.1)
        assert cell["floor"] > 0.9
        table = read_table(measured[kind] / "confusion.parquet", CONFUSION)
        right = table.loc[table["asked"] == table["seen"], "images"].sum()
        assert right / table["images"].sum() == cell["value"]
        assert table.groupby("asked")["images"].sum().to_dict() == dict.fromkeys(CLASSES, 20)


def test_the_same_bytes_twice_and_other_subsets_by_seed(world, measured, tmp_path):
    again = measure(world, "good", tmp_path / "again", lpips=True)
    for name in ("metrics.parquet", "confusion.parquet", "confusion.png"):
        assert (again / name).read_bytes() == (measured["good"] / name).read_bytes()
    other = rows(measure(world, "good", tmp_path / "other", seed=5))
    key = ("kernel_distance", "pooled")
    assert other.loc[key, "value"] != rows(again).loc[key, "value"]


def test_without_two_patients_of_a_class_there_is_no_diversity(world, caplog):
    images = read_table(world / "images.parquet", IMAGES).assign(patient_id="the only one")
    samples = read_table(world / "good" / "samples.parquet", SAMPLES)
    shards = sorted((world / "good").glob("*_000.npy"))
    pictures = Pictures(
        images, samples, ImageStore(images, [world / "part.npy"]), ImageStore(samples, shards)
    )
    everything = {name: {label: np.arange(4) for label in CLASSES} for name in SETS}
    assert list(diversity_rows(pictures, everything, {}, 5, 0)) == []
    assert "no diversity: no class has images of two patients" in caplog.text


def test_a_class_of_one_image_takes_no_part_in_distances(world):
    images = read_table(world / "images.parquet", IMAGES)
    samples = read_table(world / "good" / "samples.parquet", SAMPLES)
    space = FeatureSpace(
        "domain", world / "domain.safetensors", world / "real.npy", world / "good" / "features.npy"
    )
    subsets = equal_subsets(members(images, samples, CLASSES), 4)
    for rows_of in subsets.values():
        rows_of["Cardiomegaly"] = rows_of["Cardiomegaly"][:1]
    pictures = Pictures(images, samples, None, None)
    table = pd.DataFrame(distance_rows(space, pictures, subsets))
    assert set(table["class_name"]) == {"pooled", "No Finding"}
    assert set(table["n"]) == {12}
    for rows_of in subsets.values():
        rows_of["No Finding"] = rows_of["No Finding"][:1]
    assert list(distance_rows(space, pictures, subsets)) == []


def test_real_images_of_several_findings_change_no_number(world, measured, tmp_path):
    images = read_table(world / "images.parquet", IMAGES)
    more = with_several(images)
    assert len(more) > len(images)
    # Unlike any other image, so that a row of features or a class too many would show.
    features = np.full((len(more), 256), 1e3, dtype=np.float32)
    features[more["findings"] == more["class_name"]] = np.load(world / "real.npy")
    np.save(tmp_path / "real.npy", features)
    write_table(more, tmp_path / "images.parquet", IMAGES)
    for name in ("part.npy", "domain.safetensors", "squeeze.pt", "good"):
        (tmp_path / name).symlink_to(world / name)
    measure(tmp_path, "good", tmp_path / "out", lpips=True)
    for name in ("metrics.parquet", "confusion.parquet", "confusion.png"):
        assert (tmp_path / "out" / name).read_bytes() == (measured["good"] / name).read_bytes()


def test_features_of_other_images_are_refused(world, tmp_path):
    features = np.load(world / "good" / "features.npy")
    copy = tmp_path / "features.npy"
    np.save(copy, features[:-1])
    space = FeatureSpace("domain", world / "domain.safetensors", world / "real.npy", copy)
    with pytest.raises(ValueError, match="39 features for 40 images"):
        measure_samples(
            world / "images.parquet",
            [world / "part.npy"],
            world / "good" / "samples.parquet",
            sorted((world / "good").glob("*_000.npy")),
            [space],
            space,
            {},
            10,
            0,
            CLASSES,
            *(tmp_path / name for name in ("m.parquet", "c.parquet", "c.png")),
        )
    assert not (tmp_path / "m.parquet").exists()
