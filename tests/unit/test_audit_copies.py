"""The search for copies: it finds what was planted, and nothing where there is nothing."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.figures import WARM, plt
from workflow_scripts.common.files import sha256_of
from workflow_scripts.common.schemas import CONTROLS, COPIES, IMAGES, METRICS, SAMPLES
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.evaluate import closest
from workflow_scripts.evaluate.audit_copies import (
    Audited,
    audit_copies,
    copy_rows,
)
from workflow_scripts.evaluate.rows import Pictures, metrics_table
from workflow_scripts.evaluate.search import FeaturesOf, audited_sets, equal_sides, search

CLASSES = ["No Finding", "Effusion"]
COUNTS = {"train": 300, "val": 120, "test": 120}  # images of each class, two of a patient
SYNTHETIC = 200  # of each class
PLANTED = 10  # of each class
DEPTH = 16
SIDE = 10
# Smooth patterns, one for each feature, that no shift turns into one another.
AXIS = np.arange(SIDE)
WAVES = [np.cos(np.pi * k * (AXIS + 0.5) / SIDE) for k in range(5)]
PATTERNS = np.stack([np.outer(WAVES[k // 5], WAVES[k % 5]) for k in range(1, DEPTH + 1)])


def as_pixels(features: np.ndarray) -> np.ndarray:
    """Return small images, uint8 (n, SIDE, SIDE), of features (n, DEPTH)."""
    grey = 128 + 6 * np.tensordot(features - 1.5, PATTERNS, 1)
    return grey.round().clip(0, 255).astype(np.uint8)


class World:
    """Real images of two classes, patients alike in themselves, and copies planted among them."""

    def __init__(self, folder: Path, seed: int = 0, counts: dict = COUNTS, uneven: bool = False):
        """`uneven`: patients have geometric numbers of images, of mean 3, much like each other."""
        self.folder, self.rng = folder, np.random.default_rng(seed)
        own = self.rng.geometric(1 / 3, 2000) if uneven else np.full(2000, 2)
        patient = np.repeat(np.arange(2000), own)
        self.images = pd.concat(
            [
                pd.DataFrame(
                    {
                        "patient_id": [f"{split}-{number}-{k}" for k in patient[:count]],
                        "class_id": number,
                        "class_name": name,
                        "findings": name,
                        "age_years": 50.0,
                        "sex": "F",
                        "view": "PA",
                        "split": split,
                        "shard": "real",
                    }
                )
                for split, count in counts.items()
                for number, name in enumerate(CLASSES)
            ],
            ignore_index=True,
        )
        self.images["row"] = np.arange(len(self.images))
        self.images["image_id"] = [f"r{number:04d}" for number in self.images["row"]]
        self.within = 0.1 if uneven else 0.4  # standard deviation
        people = self.images.groupby("patient_id", sort=False).ngroup().to_numpy()
        person = self.rng.normal(size=(people.max() + 1, DEPTH))
        own = self.rng.normal(size=(len(self.images), DEPTH))
        offset = 3 * self.images["class_id"].to_numpy()[:, None]
        self.real = offset + 0.9 * person[people] + self.within * own
        self.sources = np.concatenate([self.training(name, PLANTED) for name in CLASSES])
        self.planted = self.jittered(self.sources)
        self.samples = pd.DataFrame(
            {
                "image_id": [f"s{number:03d}" for number in range(2 * SYNTHETIC)],
                "shard": "drawn",
                "row": np.arange(2 * SYNTHETIC),
                "class_id": np.repeat([0, 1], SYNTHETIC),
                "class_name": np.repeat(CLASSES, SYNTHETIC),
                "seed": np.arange(2 * SYNTHETIC),
            }
        )

    def training(self, name: str, count: int) -> np.ndarray:
        """Rows of training images of a class."""
        of_class = (self.images["split"] == "train") & (self.images["class_name"] == name)
        return self.rng.choice(np.flatnonzero(of_class), count, replace=False)

    def jittered(self, rows: np.ndarray) -> np.ndarray:
        return self.real[rows] + 0.05 * self.rng.normal(size=(len(rows), DEPTH))

    def fresh(self, spread: float = 1.0) -> np.ndarray:
        """Synthetic features as those of unseen patients, class by class."""
        noise = self.rng.normal(size=(2 * SYNTHETIC, DEPTH))
        return (
            3 * np.repeat([0, 1], SYNTHETIC)[:, None] + spread * np.hypot(0.9, self.within) * noise
        )

    def copies(self, name: str, count: int) -> np.ndarray:
        """Jittered features of training images of a class."""
        return self.jittered(self.training(name, count))

    def control(self) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "image_id": [f"planted/{number}" for number in range(len(self.sources))],
                "shard": "planted",
                "row": np.arange(len(self.sources)),
                "class_name": self.images["class_name"].to_numpy()[self.sources],
                "source_image_id": self.images["image_id"].to_numpy()[self.sources],
            }
        )

    def audit(self, synthetic: np.ndarray, seed: int = 4, space: str = "xrv") -> pd.DataFrame:
        """Search one feature space and return METRICS by metric and class."""
        pictures = Pictures(self.images, self.samples)
        everything = audited_sets(pictures, self.control(), CLASSES)
        features = FeaturesOf({"real": self.real, "synthetic": synthetic, "planted": self.planted})
        found = search(space, pictures, features, everything, seed)
        table = metrics_table(copy_rows(space, None, found, everything, seed), seed)
        return METRICS.validate(table).set_index(["metric", "class_name"])

    def run(
        self, synthetic: np.ndarray, output: str = "out", lost: int = 0, unlike: int = 0
    ) -> Path:
        """Run the step on files, in pixels and in features, and return where its outputs are.

        `lost` features of each set are missing; those of the last `unlike` planted copies are
        unlike their sources'.
        """
        folder = self.folder
        (folder / "weights").write_bytes(b"weights")
        for name, features in (
            ("real", self.real),
            ("drawn", synthetic),
            ("planted", self.planted),
        ):
            np.save(folder / f"{name}-features.npy", features[lost:].astype(np.float32))
            np.save(folder / f"{name}.npy", as_pixels(features))
        features = np.load(folder / "planted-features.npy")
        features[len(features) - unlike :] += 100
        np.save(folder / "planted-features.npy", features)
        of_domain = [folder / f"{name}-features.npy" for name in ("real", "drawn", "planted")]
        write_table(self.images, folder / "images.parquet", IMAGES)
        write_table(self.samples, folder / "samples.parquet", SAMPLES)
        write_table(self.control(), folder / "planted.parquet", CONTROLS)
        audit_copies(
            images=folder / "images.parquet",
            shards=[folder / "real.npy"],
            samples=folder / "samples.parquet",
            sample_shards=[folder / "drawn.npy"],
            planted_index=folder / "planted.parquet",
            planted=folder / "planted.npy",
            extractors=[Audited("domain", folder / "weights", *of_domain)],
            classes=CLASSES,
            seed=4,
            metrics=folder / output / "metrics.parquet",
            copies=folder / output / "copies.parquet",
            figure=folder / output / "closest.png",
        )
        return folder / output


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def test_clean_images_look_no_more_copied_than_unseen_real_ones(world):
    table = world.audit(world.fresh())
    for label in ("pooled", *CLASSES):
        copied, closer = (
            table.loc[("memorised_fraction", label)],
            table.loc[("closer_to_train", label)],
        )
        # One of the 60 validation patients of each class is at the threshold.
        assert copied["expected"] == pytest.approx(1 / 61)
        assert copied["value"] <= copied["expected_high"] < 0.08
        assert closer["low"] < closer["expected"] == 0.5 < closer["high"]
        assert np.isnan(closer["expected_high"])
        # Real images of training are like those of other patients: never compared with their own.
        for column in ("floor", "train"):
            assert copied[column] < 0.08
            assert 0.3 < closer[column] < 0.7
        assert copied["ceiling"] == 1
        assert closer["ceiling"] > 0.7
    assert set(table["ceiling_of"]) == {"planted copies"}
    assert set(table.loc["memorised_fraction", "interval"]) == {"Clopper–Pearson 95 %"}
    assert set(table.loc["closer_to_train", "interval"]) == {"Korn–Graubard 95 %"}
    assert table.loc[("memorised_fraction", "pooled"), "n"] == 2 * SYNTHETIC
    assert table.loc["memorised_fraction", "n_reference"].to_list() == [120, 60, 60]
    assert table.loc["closer_to_train", "n_reference"].to_list() == [480, 240, 240]


@pytest.mark.parametrize("uneven", [False, True], ids=["pairs", "geometric"])
def test_chance_alone_finds_what_is_expected(tmp_path, uneven):
    """Of fresh images, over many worlds, however many images patients have."""
    shares, outside, labels = [], 0, ["pooled", *CLASSES]
    for seed in range(25):
        world = World(tmp_path, seed, uneven=uneven)
        rows = world.audit(world.fresh()).loc["memorised_fraction"]
        shares.append(rows["value"] / rows["expected"])
        outside += rows["value"] > rows["expected_high"]
    ratio = pd.DataFrame(shares)["pooled"]
    assert abs(ratio.mean() - 1) <= 2.6 * ratio.std() / np.sqrt(len(ratio))
    for label in labels:
        assert outside[label] <= 2


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "jittered"])
def test_what_was_planted_is_flagged_and_nothing_else(world, exact):
    synthetic = world.fresh(spread=1.8)  # clearly nobody of the training set
    planted = np.arange(0, 2 * SYNTHETIC, 20)
    rows = np.concatenate([world.training(name, len(planted) // 2) for name in CLASSES])
    synthetic[planted] = world.real[rows] if exact else world.jittered(rows)
    output = world.run(synthetic)
    table = read_table(output / "copies.parquet", COPIES)
    for _, found in table.groupby("extractor"):
        assert found["image_id"].to_list() == world.samples["image_id"].to_list()
        assert np.flatnonzero(found["copied"]).tolist() == planted.tolist()
        sources = found["nearest_image_id"].to_numpy()[planted]
        assert sources.tolist() == world.images["image_id"].iloc[rows].to_list()
        assert (found["copied"] == (found["distance"] < found["threshold"])).all()
    metrics = read_table(output / "metrics.parquet", METRICS)
    metrics = metrics.set_index(["extractor", "metric", "class_name"])
    for space, sha256 in (("pixels", None), ("domain", sha256_of(world.folder / "weights"))):
        share = metrics.loc[(space, "memorised_fraction", "pooled")]
        assert share["value"] == len(planted) / (2 * SYNTHETIC)
        assert share["low"] > share["expected"]
        assert share["ceiling"] == 1
        found = share["weights_sha256"]
        assert (None if pd.isna(found) else found) == sha256


def test_planted_copies_are_found_in_their_class_and_nowhere_else(world):
    synthetic = world.fresh()
    planted = 30
    synthetic[:planted] = world.copies("No Finding", planted)
    copied = world.audit(synthetic).loc["memorised_fraction"]
    assert copied.loc["No Finding", "value"] == pytest.approx(planted / SYNTHETIC, abs=0.03)
    assert copied.loc["pooled", "value"] == pytest.approx(planted / (2 * SYNTHETIC), abs=0.03)
    for label in ("No Finding", "pooled"):
        assert copied.loc[label, "value"] > copied.loc[label, ["expected_high", "floor"]].max()
    assert copied.loc["Effusion", "value"] <= copied.loc["Effusion", "expected_high"]


def test_a_generator_that_only_copies_is_found_by_both_measures(world):
    table = world.audit(np.concatenate([world.copies(name, SYNTHETIC) for name in CLASSES]))
    assert (table.loc["memorised_fraction", "value"] > 0.95).all()
    closer = table.loc["closer_to_train"]
    # Of 300 training images 240 stand beside as many unseen ones: other copies are as near to these.
    assert (closer["low"] > 0.75).all()


def test_typical_images_are_near_to_training_and_as_near_to_the_unseen(tmp_path):
    """The mean image is near to everything: what the second measure is for."""
    found = []
    for seed in range(12):
        world = World(tmp_path, seed)
        means = 3 * np.repeat([0, 1], SYNTHETIC)[:, None]
        found.append(world.audit(0.7 * means + 0.3 * world.fresh()))
    copied, closer = (
        pd.DataFrame([table.loc[metric, "pooled"] for table in found])
        for metric in ("memorised_fraction", "closer_to_train")
    )
    assert (copied["value"] > copied["expected_high"]).sum() >= 11
    assert (closer["low"] > closer["expected"]).sum() <= 1


def test_copies_of_training_images_with_several_findings_are_found(world):
    synthetic = world.fresh()
    synthetic[:SYNTHETIC] = world.copies("No Finding", SYNTHETIC)
    several = (world.images["split"] == "train") & (world.images["class_name"] == "No Finding")
    several &= np.arange(len(several)) >= 10  # a few are left to stand for the class
    world.images.loc[several, "findings"] = "No Finding|Effusion"
    assert world.audit(synthetic).loc[("memorised_fraction", "No Finding"), "value"] > 0.95


def test_the_sides_are_equal_in_number_and_drawn_patient_by_patient(world):
    pictures = Pictures(world.images, world.samples)
    everything = audited_sets(pictures, world.control(), CLASSES)
    for label in CLASSES:
        seen, unseen = equal_sides(pictures, everything, label, 4)
        for side, splits in ((seen, {"train"}), (unseen, {"val", "test"})):
            images = world.images.iloc[side]
            assert len(set(side)) == 240
            assert images["patient_id"].nunique() == 120
            assert set(images["split"]) == splits
            assert set(images["class_name"]) == {label}
    assert (equal_sides(pictures, everything, label, 5)[0] != seen).any()


def test_a_class_missing_from_a_split_is_left_out_and_named(world, caplog):
    world.images.loc[world.images["class_name"] == "Effusion", "split"] = "train"
    table = world.audit(world.fresh())
    assert set(table.index.get_level_values("class_name")) == {"pooled", "No Finding"}
    assert table.loc[("memorised_fraction", "pooled"), "n"] == SYNTHETIC
    assert "Effusion: no search for its copies" in caplog.text
    world.images["split"] = "train"
    with pytest.raises(InputError, match="no class has synthetic images and"):
        world.audit(world.fresh())


def test_a_blind_search_fails_and_says_why(world):
    """One image under two patients, in train and in val: its distance is the threshold, 0."""
    twins = world.images["patient_id"] == "val-0-0"
    world.real[twins] = world.real[world.training("No Finding", 1)[0]]
    first = ", ".join(world.control()["source_image_id"].head(5))
    with pytest.raises(InputError, match=r"misses 10 \(No Finding 10\).*duplicates") as found:
        world.run(world.fresh())
    assert f"the training images {first} and 5 more are not found" in str(found.value)
    assert not (world.folder / "out").exists()


def test_a_space_that_cannot_see_copies_takes_nothing_for_one(world, caplog):
    """Of the planted copies of effusions it shows 4 in 10; of the other class all."""
    output = world.run(world.fresh(), unlike=6)
    table = read_table(output / "copies.parquet", COPIES)
    audited = table.groupby("extractor")["class_name"].agg(set)
    assert audited.to_dict() == {"pixels": set(CLASSES), "domain": {"No Finding"}}
    assert "Effusion in domain: only 40 % of the planted copies are found" in caplog.text
    metrics = read_table(output / "metrics.parquet", METRICS)
    chosen = (metrics["extractor"] == "domain") & (metrics["metric"] == "memorised_fraction")
    assert metrics[chosen].set_index("class_name")["ceiling"].to_dict() == pytest.approx(
        {"pooled": 0.7, "No Finding": 1.0, "Effusion": 0.4}
    )


def test_what_the_domain_network_leans_to_is_its_floor(world):
    synthetic = world.fresh()
    for space in ("xrv", "domain"):
        rows = world.audit(synthetic, space=space).loc["closer_to_train"]
        assert (rows["expected"] == (rows["floor"] if space == "domain" else 0.5)).all()
        assert (rows["floor"] != 0.5).any()


def test_pooled_every_class_has_the_weight_of_its_synthetic_images(world):
    names = np.repeat(CLASSES, [40, 2 * SYNTHETIC - 40])
    world.samples["class_name"], world.samples["class_id"] = names, (names == CLASSES[1]) * 1
    world.planted[:6] += 100  # so that the classes differ
    table = world.audit(world.fresh())
    for metric in ("memorised_fraction", "closer_to_train"):
        of = table.loc[metric]
        for column in ("value", "floor", "train", "ceiling"):
            mean = np.average(of.loc[CLASSES, column], weights=[40, 2 * SYNTHETIC - 40])
            assert of.loc["pooled", column] == pytest.approx(mean)
        assert of.loc[CLASSES, "ceiling"].nunique() == 2


def test_a_coarse_threshold_is_said(tmp_path, caplog):
    world = World(tmp_path, seed=1, counts={"train": 100, "val": 24, "test": 30})
    output = world.run(world.fresh())
    for label in CLASSES:
        assert f"{label}: only 12 validation patients set the threshold" in caplog.text
    assert "at which 7.7 %" in caplog.text
    table = read_table(output / "metrics.parquet", METRICS)
    copied = table[table["metric"] == "memorised_fraction"]
    assert copied["expected"].to_list() == pytest.approx([1 / 13] * len(copied))
    assert copied["expected_high"].between(0.15, 0.35).all(), "as wide as it is"


def test_the_sheet_shows_the_closest_pairs_first(world):
    synthetic = world.fresh(spread=1.8)
    rows = world.training("Effusion", 3)
    synthetic[[250, 300, 350]] = world.real[rows]
    output = world.run(synthetic)
    table = read_table(output / "copies.parquet", COPIES)
    pictures = Pictures(
        world.images,
        world.samples,
        ImageStore(world.images, [world.folder / "real.npy"]),
        ImageStore(world.samples, [world.folder / "drawn.npy"]),
    )
    pairs, drawn, real = closest.closest_pairs(table[table["extractor"] == "pixels"], pictures)
    assert len(pairs) == closest.PAIRS
    assert pairs["relative"].is_monotonic_increasing
    assert pairs["image_id"].iloc[:3].to_list() == ["s250", "s300", "s350"]
    np.testing.assert_array_equal(drawn[:3], real[:3])
    np.testing.assert_array_equal(real[:3], as_pixels(world.real[rows]))
    figure = closest.draw(pairs.head(6), drawn[:6], real[:6])
    titles = [panel.title for panel in figure.axes if panel.title.get_text()]
    assert len(titles) == 6
    assert [title.get_color() == WARM for title in titles] == [True] * 3 + [False] * 3
    assert titles[0].get_text() == "Effusion  0.00"
    plt.close(figure)
    assert plt.imread(output / "closest.png").std() > 0


def test_the_same_bytes_twice(world):
    synthetic = world.fresh()
    one, two = world.run(synthetic, "one"), world.run(synthetic, "two")
    for name in ("metrics.parquet", "copies.parquet", "closest.png"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_features_of_other_images_are_refused(world):
    with pytest.raises(ValueError, match="1079 rows for 1080 images"):
        world.run(world.fresh(), lost=1)
