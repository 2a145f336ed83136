"""The step: who is asked, who answers, and what each row says."""

from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from tests.films import CLASSES, PER_CLASS, files, good_samples, write_real, write_samples
from tests.several import with_several
from workflow_scripts.common.files import sha256_of
from workflow_scripts.common.schemas import CONFUSION, IMAGES, METRICS, PHANTOM_TRUTH, SAMPLES
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.evaluate.measure_condition import measure_condition
from workflow_scripts.phantom.population import describe

ROWS = ("pooled", *CLASSES)


def probabilities(labels: np.ndarray, right: float, seed: int) -> np.ndarray:
    """Class probabilities of somebody who sees the class of an image with a certain chance."""
    rng = np.random.default_rng(seed)
    seen = np.where(rng.random(len(labels)) < right, labels, 1 - labels)
    sure = rng.uniform(0.6, 0.9, len(labels))
    return np.where(seen[:, None] == np.arange(2), sure[:, None], 1 - sure[:, None]).astype("f4")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    images, radius = write_real(folder)
    samples = write_samples(folder / "good", good_samples())
    labels = images["class_id"].to_numpy()
    np.save(folder / "real.classes.npy", probabilities(labels, 0.95, 1))
    np.save(folder / "trained.npy", probabilities(labels, 0.75, 2))
    seen = probabilities(samples["class_id"].to_numpy(), 0.85, 3)
    np.save(folder / "samples.classes.npy", seen)
    (folder / "domain.safetensors").write_bytes(b"weights")
    # Numbers of phantoms but for the two that are measured, which say how wide the discs are.
    truth = describe(len(images), 1, seed=0).head(len(images))
    truth["image_id"] = images["image_id"]
    truth["cardiothoracic_ratio"], truth["effusion_height"] = radius / 16, radius / 32
    write_table(truth, folder / "truth.parquet", PHANTOM_TRUTH)
    return folder


def measure(world: Path, output: Path, truth: bool = False) -> pd.DataFrame:
    given = files(world, world / "good")
    if not truth:
        given = replace(given, shards=[], sample_shards=[])
    measure_condition(
        *astuple(given),
        classes_real=world / "real.classes.npy",
        classes_samples=world / "samples.classes.npy",
        synthetic_trained=world / "trained.npy",
        weights=world / "domain.safetensors",
        truth=world / "truth.parquet" if truth else None,
        classes=CLASSES,
        seed=4,
        metrics=output / "metrics.parquet",
        confusion_table=output / "confusion.parquet",
        confusion_figure=output / "confusion.png",
    )
    return read_table(output / "metrics.parquet", METRICS).set_index(["metric", "class_name"])


@pytest.fixture(scope="module")
def output(world, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("measured")
    measure(world, folder, truth=True)
    return folder


@pytest.fixture(scope="module")
def table(output) -> pd.DataFrame:
    return read_table(output / "metrics.parquet", METRICS).set_index(["metric", "class_name"])


def split(world: Path, name: str) -> tuple[pd.DataFrame, np.ndarray]:
    images = read_table(world / "images.parquet", IMAGES)
    return images, (images["split"] == name).to_numpy()


def test_measures_of_phantoms_and_of_others(world, table, tmp_path):
    classifier = ("class_accuracy", "class_auroc", "classification_accuracy_score")
    anatomy = ("cardiothoracic_ratio_distance", "effusion_height_distance")
    assert sorted(table.index) == sorted((m, label) for m in classifier + anatomy for label in ROWS)
    others = measure(world, tmp_path)
    pd.testing.assert_frame_equal(others, table.loc[list(classifier)], check_dtype=False)
    assert table[["value", "floor", "ceiling"]].notna().all(axis=None)
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()


def test_accuracy_is_the_share_on_the_diagonal_of_the_confusion(world, output, table):
    samples = read_table(world / "good" / "samples.parquet", SAMPLES)
    right = np.load(world / "samples.classes.npy").argmax(axis=1) == samples["class_id"]
    cell = table.loc[("class_accuracy", "pooled")]
    assert cell["value"] == pytest.approx(right.mean())
    exact = binomtest(int(right.sum()), len(right)).proportion_ci(method="exact")
    assert (cell["low"], cell["high"]) == pytest.approx((exact.low, exact.high))
    assert (cell["ceiling"], cell["ceiling_of"]) == (0.5, "chance")
    assert (cell["n"], cell["n_reference"]) == (2 * PER_CLASS, 48)
    assert cell["weights_sha256"] == sha256_of(world / "domain.safetensors")
    counted = read_table(output / "confusion.parquet", CONFUSION)
    diagonal = counted["asked"] == counted["seen"]
    assert counted.loc[diagonal, "images"].sum() == right.sum()
    for name, column in (("val", "floor"), ("train", "train")):
        images, here = split(world, name)
        seen = np.load(world / "real.classes.npy").argmax(axis=1)[here]
        expected = balanced_accuracy_score(images["class_id"][here], seen)
        assert cell[column] == pytest.approx(expected)


def test_auroc_of_the_class_asked_for(world, table):
    samples = read_table(world / "good" / "samples.parquet", SAMPLES)
    seen = np.load(world / "samples.classes.npy")
    images, here = split(world, "val")
    values = []
    for number, label in enumerate(CLASSES):
        cell = table.loc[("class_auroc", label)]
        asked = samples["class_id"] == number
        assert cell["value"] == pytest.approx(roc_auc_score(asked, seen[:, number]))
        real = np.load(world / "real.classes.npy")[here, number]
        assert cell["floor"] == pytest.approx(
            roc_auc_score(images["class_id"][here] == number, real)
        )
        assert (cell["ceiling"], cell["interval"]) == (0.5, "DeLong 95 %")
        values.append(cell["value"])
    assert table.loc[("class_auroc", "pooled"), "value"] == pytest.approx(np.mean(values))


def test_score_is_of_test_images_by_what_was_trained_on_synthetic_ones(world, table):
    images, here = split(world, "test")
    asked = images["class_id"][here]
    cell = table.loc[("classification_accuracy_score", "pooled")]
    for name, column in (("trained", "value"), ("real.classes", "floor")):
        seen = np.load(world / f"{name}.npy").argmax(axis=1)[here]
        assert cell[column] == pytest.approx(balanced_accuracy_score(asked, seen))
        recall = [(seen[asked == number] == number).mean() for number in (0, 1)]
        for number, label in enumerate(CLASSES):
            one = table.loc[("classification_accuracy_score", label)]
            assert one[column] == pytest.approx(recall[number])
    assert (cell["n"], cell["n_reference"]) == (2 * PER_CLASS, 44)
    assert cell["extractor"] == "synthetic_trained"
    assert pd.isna(cell["weights_sha256"])
    assert cell["ceiling"] == 0.5


def test_the_same_bytes_twice(world, output, tmp_path):
    measure(world, tmp_path, truth=True)
    for name in ("metrics.parquet", "confusion.parquet", "confusion.png"):
        assert (tmp_path / name).read_bytes() == (output / name).read_bytes()


def test_real_images_of_several_findings_change_no_number(world, table, tmp_path):
    images = read_table(world / "images.parquet", IMAGES)
    more = with_several(images)
    single = more["findings"] == more["class_name"]
    for name in ("real.classes", "trained"):
        # As wrong as can be, so that a row too many would show.
        seen = 1 - np.eye(2, dtype=np.float32)[more["class_id"]]
        seen[single] = np.load(world / f"{name}.npy")
        np.save(tmp_path / f"{name}.npy", seen)
    write_table(more, tmp_path / "images.parquet", IMAGES)
    for name in ("part.npy", "domain.safetensors", "good", "samples.classes.npy", "truth.parquet"):
        (tmp_path / name).symlink_to(world / name)
    pd.testing.assert_frame_equal(measure(tmp_path, tmp_path / "out", truth=True), table)


def keep(world: Path, folder: Path, kept: np.ndarray) -> None:
    """Make `folder` the same world with fewer synthetic images."""
    for name in ("images.parquet", "part.npy", "domain.safetensors", "real.classes.npy"):
        (folder / name).symlink_to(world / name)
    (folder / "trained.npy").symlink_to(world / "trained.npy")
    (folder / "good").mkdir()
    write_table(sampled(world)[kept], folder / "good" / "samples.parquet", SAMPLES)
    np.save(folder / "samples.classes.npy", np.load(world / "samples.classes.npy")[kept])


def sampled(world: Path) -> pd.DataFrame:
    return read_table(world / "good" / "samples.parquet", SAMPLES)


def test_pooled_accuracy_of_real_images_weighs_classes_as_they_were_drawn(world, table, tmp_path):
    label = sampled(world)["class_name"]
    few = (label == CLASSES[0]) | (label.groupby(label).cumcount() < 6)
    keep(world, tmp_path, few.to_numpy())
    fewer = measure(tmp_path, tmp_path / "out").loc["class_accuracy"]
    assert fewer["n"].to_dict() == {"pooled": 30, CLASSES[0]: 24, CLASSES[1]: 6}
    for column in ("value", "floor", "train"):
        expected = np.average(fewer.loc[CLASSES, column], weights=[24, 6])
        assert fewer.loc["pooled", column] == pytest.approx(expected)
        assert fewer.loc["pooled", column] != pytest.approx(fewer.loc[CLASSES, column].mean())


def test_a_class_that_was_never_drawn_has_no_row(world, tmp_path, caplog):
    keep(world, tmp_path, (sampled(world)["class_name"] == "Cardiomegaly").to_numpy())
    table = measure(tmp_path, tmp_path / "out")
    labels = table.loc["class_accuracy"].index
    assert sorted(labels) == ["Cardiomegaly", "pooled"]
    assert "class_auroc" not in table.index.get_level_values(0)
    assert "No Finding: no share seen as it" in caplog.text


def test_probabilities_of_other_images_are_refused(world, tmp_path):
    for path in world.iterdir():
        if path.name != "trained.npy":
            (tmp_path / path.name).symlink_to(path)
    np.save(tmp_path / "trained.npy", np.load(world / "trained.npy")[:-1])
    with pytest.raises(ValueError, match="171 rows for 172 images"):
        measure(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
