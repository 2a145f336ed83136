"""The distribution of one image set: what is compared with what, and what each row says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.several import with_several
from workflow_scripts.common.files import sha256_of
from workflow_scripts.common.schemas import IMAGES, METRICS, SAMPLES
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.evaluate import distances
from workflow_scripts.evaluate.measure_distribution import distance_rows, measure_distribution
from workflow_scripts.evaluate.rows import FeatureSpace, Pictures
from workflow_scripts.evaluate.sets import equal_subsets, members
from workflow_scripts.metrics.frechet import frechet_distance
from workflow_scripts.metrics.kernels import gaussian_kernel_distance, kernel_distance
from workflow_scripts.metrics.manifold import manifold
from workflow_scripts.metrics.scores import class_score

CLASSES = ["No Finding", "Cardiomegaly"]
COUNTS = {"train": 40, "val": 30, "test": 24}  # images per class, one of each patient
PER_CLASS = 28  # synthetic
DIMENSIONS = 6
KINDS = ("good", "swapped", "noise")
POOLED_ALONE = ("frechet_distance", "frechet_distance_infinity", "class_score")
MANIFOLD = ("precision", "recall", "density", "coverage")
EACH = ("kernel_distance", "gaussian_kernel_distance", *MANIFOLD)


def features(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two classes, a distance of six standard deviations apart."""
    return (rng.normal(size=(len(labels), DIMENSIONS)) + 6 * labels[:, None] / 6**0.5).astype(
        np.float32
    )


def probabilities(x: np.ndarray) -> np.ndarray:
    """How likely each class is by its features; of noise, which is far from both, undecided."""
    odds = np.clip(x.sum(axis=1) - 3 * 6**0.5, -4, 4) * (np.abs(x).max(axis=1) < 30)
    second = 1 / (1 + np.exp(-odds))
    return np.stack([1 - second, second], axis=1).astype(np.float32)


def save(folder: Path, name: str, x: np.ndarray) -> None:
    np.save(folder / f"{name}.npy", x)
    np.save(folder / f"{name}.classes.npy", probabilities(x))


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """The tables and features of real images, of noise, and of three sets of synthetic ones."""
    folder = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    split = np.concatenate([np.repeat(name, 2 * count) for name, count in COUNTS.items()])
    labels = np.arange(len(split)) % 2
    images = pd.DataFrame(
        {
            "image_id": [f"{number:04d}" for number in range(len(split))],
            "patient_id": [f"p{number // 2}" for number in range(len(split))],
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
    asked = np.repeat([0, 1], PER_CLASS)
    samples = pd.DataFrame(
        {
            "image_id": [f"s{number:03d}" for number in range(len(asked))],
            "shard": "drawn",
            "row": np.arange(len(asked)),
            "class_id": asked,
            "class_name": np.array(CLASSES)[asked],
            "seed": np.arange(len(asked)),
        }
    )
    write_table(samples, folder / "samples.parquet", SAMPLES)
    (folder / "weights").write_bytes(b"of a network")
    save(folder, "real", features(labels, rng))
    save(folder, "good", features(asked, rng))
    save(folder, "swapped", features(1 - asked, rng))
    for name, count in (("noise", len(asked)), ("controls", 2 * COUNTS["test"])):
        save(folder, name, rng.normal(40, 1, (count, DIMENSIONS)).astype(np.float32))
    return folder


def space_of(world: Path, kind: str) -> FeatureSpace:
    return FeatureSpace(
        "domain",
        world / "weights",
        *(world / f"{name}.npy" for name in ("real", kind, "controls")),
        *(world / f"{name}.classes.npy" for name in ("real", kind, "controls")),
    )


def measure(world: Path, space: FeatureSpace, output: Path, **options) -> Path:
    settings = {
        "images": world / "images.parquet",
        "samples": world / "samples.parquet",
        "classes": CLASSES,
        "neighbours": 5,
        "seed": 4,
    }
    measure_distribution(space=space, output=output, **settings | options)
    return output


def rows(path: Path) -> pd.DataFrame:
    return read_table(path, METRICS).set_index(["metric", "class_name"])


@pytest.fixture(scope="module")
def measured(world, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("measured")
    return {
        kind: measure(world, space_of(world, kind), folder / f"{kind}.parquet") for kind in KINDS
    }


def test_every_measure_has_its_rows_its_floor_its_ceiling_and_its_n(world, measured):
    table = rows(measured["good"])
    expected = [(metric, "pooled") for metric in POOLED_ALONE]
    expected += [(metric, label) for metric in EACH for label in ("pooled", *CLASSES)]
    assert sorted(table.index) == sorted(expected)
    assert table[["value", "floor", "train", "ceiling"]].notna().all(axis=None)
    # The poorest set is the test split.
    pooled = table.index.get_level_values("class_name") == "pooled"
    assert (table["n"] == np.where(pooled, 48, 24)).all()
    assert (table["n_reference"] == table["n"]).all()
    assert (table["ceiling_of"] == np.where(pooled, "noise", "wrong class")).all()
    assert set(table["weights_sha256"]) == {sha256_of(world / "weights")}
    assert set(table["seed"]) == {4}
    inside = table[table["interval"] != "none"]
    assert ((inside["low"] <= inside["value"]) & (inside["value"] <= inside["high"])).all()
    kernel = table.loc[["kernel_distance", "gaussian_kernel_distance"]]
    assert set(kernel["interval"]) == {"jackknife 95 %"}
    frechet = table.loc[["frechet_distance", "frechet_distance_infinity", "class_score"]]
    assert set(frechet["interval"]) == {"grouped jackknife 95 %"}


def test_no_published_name_without_the_published_weights(measured):
    names = " ".join(rows(measured["good"])["name"])
    for published in ("FID", "KID", "Inception Score"):
        assert published not in names


def test_the_numbers_are_those_of_the_sets_that_the_rows_name(world, tmp_path):
    """All sets of equal size: nothing is drawn, so that each number can be had anew."""
    images = read_table(world / "images.parquet", IMAGES)
    kept = images.groupby(["split", "class_name"]).head(24).index
    write_table(images.loc[kept], tmp_path / "images.parquet", IMAGES)
    samples = read_table(world / "samples.parquet", SAMPLES)
    drawn = samples.groupby("class_name").head(24).index
    write_table(samples.loc[drawn], tmp_path / "samples.parquet", SAMPLES)
    for name, which in (("real", kept), ("good", drawn), ("controls", range(48))):
        save(tmp_path, name, np.load(world / f"{name}.npy")[list(which)])
    (tmp_path / "weights").write_bytes(b"")
    table = rows(measure(tmp_path, space_of(tmp_path, "good"), tmp_path / "m.parquet"))

    real, synthetic = images.loc[kept], samples.loc[drawn]
    x, drawn_x, noise = (np.load(tmp_path / f"{n}.npy") for n in ("real", "good", "controls"))

    def of(split: str, name: str) -> tuple[np.ndarray, np.ndarray]:
        here = ((real["split"] == split) & (real["class_name"] == name)).to_numpy()
        return x[here], real["patient_id"].to_numpy()[here]

    label, other = CLASSES
    asked = drawn_x[(synthetic["class_name"] == label).to_numpy()]
    test, patients = of("test", label)
    sets = {
        "value": (asked, None),
        "floor": of("val", label),
        "train": of("train", label),
        "ceiling": of("val", other),
    }
    everything = np.concatenate([of("test", name)[0] for name in CLASSES])
    sigma = np.median(
        [np.linalg.norm(a - b) for i, a in enumerate(everything) for b in everything[:i]]
    )
    for column, (images_x, owners) in sets.items():
        expected = kernel_distance(images_x, test, owners, patients)
        found = table.loc[("kernel_distance", label)]
        assert found[column] == pytest.approx(expected.value, rel=1e-9)
        if column == "value":
            assert [found["low"], found["high"]] == pytest.approx([expected.low, expected.high])
        gaussian = gaussian_kernel_distance(images_x, test, sigma, owners, patients).value
        found = table.loc[("gaussian_kernel_distance", label), column]
        assert found == pytest.approx(gaussian, rel=1e-6)
        for metric, value in manifold(images_x, test, 5)._asdict().items():
            assert table.loc[(metric, label), column] == pytest.approx(value)
    sets = {
        "value": drawn_x,
        "floor": np.concatenate([of("val", name)[0] for name in CLASSES]),
        "train": np.concatenate([of("train", name)[0] for name in CLASSES]),
        "ceiling": noise,
    }
    for column, images_x in sets.items():
        found = table[column]
        assert found["frechet_distance", "pooled"] == pytest.approx(
            frechet_distance(images_x, everything)
        )
        score = class_score(probabilities(images_x))
        assert found["class_score", "pooled"] == pytest.approx(score, rel=1e-5)


def test_good_images_stand_at_the_floor_and_bad_ones_at_the_ceiling(measured):
    good, swapped, noise = (rows(measured[kind]) for kind in KINDS)
    for metric in ("kernel_distance", "gaussian_kernel_distance"):
        for label in CLASSES:
            cell = good.loc[(metric, label)]
            assert cell["low"] <= 0
            # Swapping classes is what the ceiling of a class is made of.
            assert swapped.loc[(metric, label), "value"] == pytest.approx(cell["ceiling"], rel=0.3)
            assert noise.loc[(metric, label), "low"] > max(0, 3 * cell["floor"])
        # Swapping classes does not change what all classes look like together.
        assert swapped.loc[(metric, "pooled"), "low"] <= 0
    for metric in ("frechet_distance", "frechet_distance_infinity"):
        cell = good.loc[(metric, "pooled")]
        assert noise.loc[(metric, "pooled"), "value"] == pytest.approx(cell["ceiling"], rel=0.1)
        assert cell["value"] < 0.05 * cell["ceiling"]
        assert cell["floor"] < 0.05 * cell["ceiling"]
    for metric in MANIFOLD:
        for label in ("pooled", *CLASSES):
            assert good.loc[(metric, label), "value"] > 0.6
            assert good.loc[(metric, label), "floor"] > 0.6
            assert good.loc[(metric, label), "ceiling"] < 0.2
            assert noise.loc[(metric, label), "value"] == 0
    score = good.loc[("class_score", "pooled")]
    assert min(score["value"], score["floor"]) > 1.5
    assert score["ceiling"] == pytest.approx(1, abs=0.05)


def test_the_same_bytes_twice_and_other_subsets_by_seed(world, measured, tmp_path):
    good = space_of(world, "good")
    again = measure(world, good, tmp_path / "again.parquet")
    assert again.read_bytes() == measured["good"].read_bytes()
    other = rows(measure(world, good, tmp_path / "other.parquet", seed=5))
    key = ("kernel_distance", "pooled")
    assert other.loc[key, "value"] != rows(again).loc[key, "value"]


def test_an_extractor_without_weights_and_without_classes(world, tmp_path):
    space = replace(space_of(world, "good"), name="pixels", weights=None)
    for name in ("real", "good", "controls"):
        count = len(np.load(world / f"{name}.npy"))
        np.save(tmp_path / f"{name}.npy", np.empty((count, 0), dtype=np.float32))
    paths = {
        f"{field}_classes": tmp_path / f"{name}.npy"
        for field, name in (("real", "real"), ("sample", "good"), ("noise", "controls"))
    }
    table = rows(measure(world, replace(space, **paths), tmp_path / "m.parquet"))
    assert table["weights_sha256"].isna().all()
    assert "class_score" not in table.index.get_level_values("metric")
    assert ("frechet_distance", "pooled") in table.index


def with_counts(world: Path, folder: Path, second: int, first: int | None = None) -> Path:
    """The same world with fewer test images of each class."""
    images = read_table(world / "images.parquet", IMAGES)
    place = images.groupby(["split", "class_name"]).cumcount()
    few = (images["split"] == "test") & (
        ((images["class_name"] == CLASSES[1]) & (place >= second))
        | ((images["class_name"] == CLASSES[0]) & (place >= (24 if first is None else first)))
    )
    # Left out of the test split, not of the table: the features stay as they are.
    images.loc[few, "findings"] = "|".join(CLASSES)
    write_table(images, folder / "images.parquet", IMAGES)
    return folder / "images.parquet"


def test_a_class_of_one_image_takes_no_part(world, tmp_path, caplog):
    images = with_counts(world, tmp_path, second=1)
    table = rows(measure(world, space_of(world, "good"), tmp_path / "m.parquet", images=images))
    assert set(table.index.get_level_values("class_name")) == {"pooled", CLASSES[0]}
    assert set(table["n"]) == {24}
    # The other class still is the wrong one.
    assert table.loc[("kernel_distance", CLASSES[0]), "ceiling_of"] == "wrong class"
    assert "Cardiomegaly: with 1 images per set it takes no part" in caplog.text


def test_a_class_of_few_images_has_no_balls_and_two_have_no_interval(world, tmp_path, caplog):
    images = with_counts(world, tmp_path, second=2)
    table = rows(measure(world, space_of(world, "good"), tmp_path / "m.parquet", images=images))
    few = table.xs(CLASSES[1], level="class_name")
    assert set(few.index) == {"kernel_distance", "gaussian_kernel_distance"}
    assert set(few["interval"]) == {"none"}
    assert set(few["ceiling_of"]) == {"wrong class"}
    assert "need 20 images per set or more, not 2: they are left out" in caplog.text
    assert set(MANIFOLD) <= set(table.xs(CLASSES[0], level="class_name").index)


def test_few_patients_have_no_distance_at_infinite_n(world, tmp_path, caplog):
    images = read_table(world / "images.parquet", IMAGES)
    images["patient_id"] = [f"p{number // 4}" for number in range(len(images))]
    write_table(images, tmp_path / "images.parquet", IMAGES)
    output = tmp_path / "m.parquet"
    space = space_of(world, "good")
    table = rows(measure(world, space, output, images=tmp_path / "images.parquet"))
    assert "frechet_distance_infinity" not in table.index.get_level_values("metric")
    assert table.loc[("frechet_distance", "pooled"), "interval"] == "grouped jackknife 95 %"
    assert "no Fréchet distance at infinite N: a set has images of 12 patients" in caplog.text


def test_extrapolation_first_has_no_interval_where_it_is_not_affordable(
    world, tmp_path, monkeypatch
):
    space, output = space_of(world, "good"), tmp_path / "m.parquet"
    for affordable, expected in (
        (48 * DIMENSIONS**2, ["grouped jackknife 95 %", "none"]),
        (48 * DIMENSIONS**2 - 1, ["none", "none"]),
    ):
        monkeypatch.setattr(distances, "AFFORDABLE", affordable)
        table = rows(measure(world, space, output)).xs("pooled", level="class_name")
        found = table.loc[["frechet_distance", "frechet_distance_infinity"], "interval"]
        assert found.tolist() == expected
        assert table.loc["precision", "interval"] == "grouped jackknife 95 %"


def test_too_few_images_for_the_features_have_no_distance_at_infinite_n(world, tmp_path, caplog):
    """A quarter of 48 images is 12."""
    for features, there in ((12, True), (13, False)):
        rng = np.random.default_rng(0)
        for name in ("real", "good", "controls"):
            count = len(np.load(world / f"{name}.npy"))
            np.save(tmp_path / f"{name}.npy", rng.normal(size=(count, features)))
        paths = {
            field: tmp_path / f"{name}.npy"
            for field, name in (("real", "real"), ("samples", "good"), ("noise", "controls"))
        }
        table = rows(measure(world, replace(space_of(world, "good"), **paths), tmp_path / "m"))
        assert ("frechet_distance_infinity" in table.index.get_level_values("metric")) is there
    assert "13 features need 52 images per set, not 48" in caplog.text


def test_many_images_of_few_patients_are_at_no_disadvantage_to_synthetic_ones(
    tmp_path, monkeypatch
):
    """Perfect synthetic images, all independent; of real ones four of each of 30 patients.

    Images of one patient are alike. The floor of both kernel distances, and its interval, cover 0;
    all other floors are what the synthetic images have.
    """
    worlds, d = 60, 8
    monkeypatch.setattr(distances, "AFFORDABLE", 0)  # which saves time
    names = pd.DataFrame(
        {
            "class_name": "A",
            "findings": "A",
            "split": np.repeat(["train", "val", "test"], 120),
            "patient_id": np.arange(360) // 4,
        }
    )
    drawn = pd.DataFrame({"class_name": ["A"] * 120, "image_id": np.arange(120)})
    pictures, everything = Pictures(names, drawn), members(names, drawn, ["A"])
    covered, gaps = [], []
    for seed in range(worlds):
        rng = np.random.default_rng(seed)
        real = np.repeat(rng.normal(size=(90, d)), 4, axis=0) + rng.normal(size=(360, d)) / 2
        synthetic = np.sqrt(1.25) * rng.normal(size=(120, d))
        for name, x in (("real", real), ("good", synthetic), ("controls", synthetic + 40)):
            np.save(tmp_path / f"{name}.npy", x)
        subsets = equal_subsets(everything, names["patient_id"], seed)
        paths = [tmp_path / f"{name}.npy" for name in ("real", "good", "controls")]
        space = FeatureSpace("pixels", None, *paths)
        wrong = {"A": np.empty(0, dtype=np.int64)}
        table = pd.DataFrame(distance_rows(space, pictures, subsets, wrong, 5, seed))
        table = table[table["class_name"] == "pooled"].set_index("metric")
        rows_of = {name: subsets[name]["A"] for name in ("floor", "reference")}
        floor = kernel_distance(
            *(real[rows] for rows in rows_of.values()),
            *(names["patient_id"].to_numpy()[rows] for rows in rows_of.values()),
        )
        assert floor.value == pytest.approx(table.loc["kernel_distance", "floor"])
        covered.append(floor.low <= 0 <= floor.high)
        gaps.append(table["floor"] - table["value"])
    assert np.mean(covered) > 0.9
    gaps = pd.DataFrame(gaps)
    error = gaps.std() / np.sqrt(worlds)
    assert (gaps.mean().abs() < 3.5 * error).all()


def test_nothing_to_compare_is_an_empty_table(world, tmp_path):
    images = with_counts(world, tmp_path, second=1, first=0)
    output = measure(world, space_of(world, "good"), tmp_path / "m.parquet", images=images)
    assert read_table(output, METRICS).empty


def test_without_images_of_other_classes_noise_is_the_ceiling(world, tmp_path):
    table = rows(
        measure(world, space_of(world, "good"), tmp_path / "m.parquet", classes=CLASSES[:1])
    )
    assert set(table["ceiling_of"]) == {"noise"}
    assert {CLASSES[0], "pooled"} == set(table.index.get_level_values("class_name"))


def test_real_images_of_several_findings_change_no_number(world, measured, tmp_path):
    images = read_table(world / "images.parquet", IMAGES)
    more = with_several(images)
    assert len(more) > len(images)
    # Unlike any other image, so that a row of features or a class too many would show.
    x = np.full((len(more), DIMENSIONS), 1e3, dtype=np.float32)
    x[more["findings"] == more["class_name"]] = np.load(world / "real.npy")
    save(tmp_path, "real", x)
    write_table(more, tmp_path / "images.parquet", IMAGES)
    space = replace(
        space_of(world, "good"),
        real=tmp_path / "real.npy",
        real_classes=tmp_path / "real.classes.npy",
    )
    output = measure(world, space, tmp_path / "m.parquet", images=tmp_path / "images.parquet")
    assert output.read_bytes() == measured["good"].read_bytes()


@pytest.mark.parametrize("field", ["samples", "real_classes"])
def test_features_of_other_images_are_refused(world, tmp_path, field):
    space = space_of(world, "good")
    x = np.load(getattr(space, field))
    np.save(tmp_path / "short.npy", x[:-1])
    with pytest.raises(ValueError, match=f"{len(x) - 1} rows for {len(x)} images"):
        measure(world, replace(space, **{field: tmp_path / "short.npy"}), tmp_path / "m.parquet")
    assert not (tmp_path / "m.parquet").exists()
