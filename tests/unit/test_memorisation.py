"""The search for copies: it finds what was planted, and nothing where there is nothing."""

from dataclasses import astuple
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, betabinom

from workflow_scripts.common.schemas import METRICS
from workflow_scripts.evaluate.confusion import proportion
from workflow_scripts.evaluate.measures import (
    FeatureSpace,
    Pictures,
    equal_sides,
    memorisation_rows,
)
from workflow_scripts.evaluate.memorisation import (
    chance_of_copies,
    clustered_proportion,
    copy_threshold,
    nearest,
)
from workflow_scripts.evaluate.subsets import members

CLASSES = ["No Finding", "Effusion"]
COUNTS = {"train": 300, "val": 120, "test": 120}  # images of each class, two of a patient
SYNTHETIC = 200
DEPTH = 16


@given(
    counts=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    offset=st.sampled_from([0.0, 1e6]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=30)
def test_nearest_distances_by_definition(counts, offset, seed):
    rng = np.random.default_rng(seed)
    x, reference = (rng.normal(offset, 1, (count, 5)) for count in counts)
    mine, theirs = (rng.integers(0, 4, count) for count in counts)
    apart = np.sqrt(np.square(x[:, None] - reference).sum(axis=2))
    tolerance = 1e-7 * max(1, offset)
    np.testing.assert_allclose(nearest(x, reference).distance, apart.min(axis=1), atol=tolerance)
    apart[mine[:, None] == theirs] = np.inf
    np.testing.assert_allclose(
        nearest(x, reference, mine, theirs).distance, apart.min(axis=1), atol=tolerance
    )


def test_nearest_distances_do_not_depend_on_the_blocks():
    rng = np.random.default_rng(0)
    x, reference = rng.normal(size=(2100, 3)), rng.normal(size=(4200, 3))
    found = nearest(x, reference).distance
    few = rng.choice(2100, 40, replace=False)
    apart = np.sqrt(np.square(x[few, None] - reference).sum(axis=2)).min(axis=1)
    np.testing.assert_allclose(found[few], apart, atol=1e-12)


def test_a_copy_in_float32_far_from_the_origin_is_at_distance_0():
    rng = np.random.default_rng(0)
    reference = (100 + rng.normal(size=(50, 2048))).astype(np.float32)
    assert nearest(reference, reference).distance.max() < 1e-5
    # Real neighbours are 60 apart; in float32 the products alone are off by more than 1.
    assert nearest(reference[:1], reference[1:]).distance[0] > 50


@pytest.mark.parametrize(
    ("count", "rank"), [(1, 1), (12, 1), (99, 1), (198, 1), (199, 2), (1000, 10)]
)
def test_the_threshold_is_an_exact_quantile(count, rank):
    distances = np.random.default_rng(count).permutation(np.arange(1.0, count + 1))
    assert copy_threshold(distances) == rank
    assert rank / (count + 1) <= 0.01 or rank == 1


@pytest.mark.parametrize(
    ("drawn", "held_out", "rank"), [(300, 20, 1), (50, 99, 1), (400, 199, 2), (1000, 450, 4)]
)
def test_chance_is_beta_binomial(drawn, held_out, rank):
    found = chance_of_copies([drawn], [held_out], np.random.default_rng(0))
    law = betabinom(drawn, rank, held_out + 1 - rank)
    assert found.expected == pytest.approx(law.mean() / drawn)
    assert law.cdf(found.high * drawn) == pytest.approx(0.975, abs=0.02)


def test_chance_is_what_happens_where_nothing_is_copied():
    drawn, held_out = (200, 80, 300), (60, 250, 110)
    rng = np.random.default_rng(0)
    chance = chance_of_copies(drawn, held_out, rng)
    found = np.zeros(1500)
    for number in range(len(found)):
        for m, n in zip(drawn, held_out, strict=True):
            distances = rng.random(m + n)
            found[number] += (distances[:m] < copy_threshold(distances[m:])).sum()
    assert chance.expected == pytest.approx(found.mean() / sum(drawn), rel=0.08)
    assert 0.01 < np.mean(found > chance.high * sum(drawn)) < 0.04
    # Clopper & Pearson's interval takes the threshold as given, and is wrong more often.
    low = beta.ppf(0.025, found, sum(drawn) - found + 1)
    assert np.mean(low > chance.expected) > 0.05


class World:
    """Features of real images of two classes, patients alike in themselves, on disk."""

    def __init__(self, folder: Path, seed: int = 0, per_class: dict = COUNTS):
        self.folder, self.rng = folder, np.random.default_rng(seed)
        parts = []
        for split, count in per_class.items():
            for number, name in enumerate(CLASSES):
                owners = np.arange(count) // 2
                parts.append(
                    pd.DataFrame(
                        {
                            "patient_id": [f"{split}-{number}-{owner}" for owner in owners],
                            "class_id": number,
                            "class_name": name,
                            "findings": name,
                            "split": split,
                        }
                    )
                )
        self.images = pd.concat(parts, ignore_index=True)
        people = self.images.groupby("patient_id", sort=False).ngroup().to_numpy()
        person = self.rng.normal(size=(people.max() + 1, DEPTH))
        own = self.rng.normal(size=(len(self.images), DEPTH))
        self.real = (
            3 * self.images["class_id"].to_numpy()[:, None] + 0.9 * person[people] + 0.4 * own
        )
        np.save(folder / "real.npy", self.real.astype(np.float32))
        (folder / "weights").write_bytes(b"weights")

    def fresh(self) -> np.ndarray:
        """Synthetic features as those of unseen patients, class by class."""
        noise = self.rng.normal(size=(2 * SYNTHETIC, DEPTH))
        return 3 * np.repeat([0, 1], SYNTHETIC)[:, None] + np.hypot(0.9, 0.4) * noise

    def copies(self, name: str, count: int) -> np.ndarray:
        """Jittered features of training images of a class."""
        of_class = (self.images["split"] == "train") & (self.images["class_name"] == name)
        chosen = self.rng.choice(np.flatnonzero(of_class), count, replace=False)
        return self.real[chosen] + 0.05 * self.rng.normal(size=(count, DEPTH))

    def audit(self, synthetic: np.ndarray, seed: int = 4) -> pd.DataFrame:
        samples = pd.DataFrame(
            {
                "class_name": np.repeat(CLASSES, SYNTHETIC),
                "image_id": [f"s{number}" for number in range(2 * SYNTHETIC)],
            }
        )
        np.save(self.folder / "samples.npy", synthetic.astype(np.float32))
        space = FeatureSpace(
            "domain", self.folder / "weights", self.folder / "real.npy", self.folder / "samples.npy"
        )
        pictures = Pictures(self.images, samples, None, None)
        everything = members(self.images, samples, CLASSES)
        rows = list(memorisation_rows(space, pictures, everything, seed))
        METRICS.validate(pd.DataFrame(rows).assign(seed=seed))
        return pd.DataFrame(rows).set_index(["metric", "class_name"])


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
        # One of the 120 test images of each class is at the threshold.
        assert copied["expected"] == pytest.approx(1 / 121)
        assert copied["value"] <= copied["expected_high"] < 0.06
        assert closer["low"] < closer["expected"] == 0.5 < closer["high"]
        assert np.isnan(closer["expected_high"])
        # Real images of training are like those of other patients: never compared with their own.
        for column in ("floor", "train"):
            assert copied[column] < 0.08
            assert 0.3 < closer[column] < 0.7
    assert set(table.loc["memorised_fraction", "interval"]) == {"Clopper–Pearson 95 %"}
    assert set(table.loc["closer_to_train", "interval"]) == {"Korn–Graubard 95 %"}
    assert table.loc[("memorised_fraction", "pooled"), "n"] == 2 * SYNTHETIC
    assert table.loc["memorised_fraction", "n_reference"].to_list() == [240, 120, 120]
    assert table.loc["closer_to_train", "n_reference"].to_list() == [480, 240, 240]


@pytest.mark.parametrize("spread", [1.0, 0.3], ids=["as varied as real ones", "typical ones"])
def test_intervals_hold_a_half_as_often_as_they_promise(spread):
    """Fewer real images are nearest to typical images, and all of one patient count as one."""
    rng, held, worlds = np.random.default_rng(1), 0, 300
    for _ in range(worlds):
        people = rng.normal(size=(60, 4))
        real = np.repeat(people, 2, axis=0) + 0.3 * rng.normal(size=(120, 4))
        owners = np.repeat(np.arange(60), 2)
        chosen = nearest(spread * rng.normal(size=(80, 4)), real).position
        estimate = clustered_proportion(chosen < 60, owners[chosen])  # the first 30 were seen
        held += estimate.low <= 0.5 <= estimate.high
    assert held >= 0.92 * worlds


def test_clusters_of_one_give_the_exact_binomial_interval():
    for count in (0, 11, 50):
        found = clustered_proportion(np.arange(50) < count, np.arange(50))
        assert astuple(found) == pytest.approx(astuple(proportion(count, 50)))
    # Twenty images near to one patient's say as much as one.
    found = clustered_proportion(np.full(20, True), np.zeros(20))
    assert astuple(found) == pytest.approx(astuple(proportion(1, 1)))


def test_planted_copies_are_found_in_their_class_and_nowhere_else(world):
    synthetic = world.fresh()
    planted = 30
    synthetic[:planted] = world.copies("No Finding", planted)
    table = world.audit(synthetic)
    copied = table.loc["memorised_fraction"]
    assert copied.loc["No Finding", "value"] == pytest.approx(planted / SYNTHETIC, abs=0.02)
    assert copied.loc["pooled", "value"] == pytest.approx(planted / (2 * SYNTHETIC), abs=0.02)
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


def test_copies_of_training_images_with_several_findings_are_found(tmp_path):
    world = World(tmp_path)
    synthetic = world.fresh()
    synthetic[:SYNTHETIC] = world.copies("No Finding", SYNTHETIC)
    several = (world.images["split"] == "train") & (world.images["class_name"] == "No Finding")
    several &= np.arange(len(several)) >= 10  # a few are left to stand for the class
    world.images.loc[several, "findings"] = "No Finding|Effusion"
    assert world.audit(synthetic).loc[("memorised_fraction", "No Finding"), "value"] > 0.95


def test_the_sides_are_equal_in_number_and_drawn_patient_by_patient(world):
    samples = pd.DataFrame({"class_name": CLASSES})
    pictures = Pictures(world.images, samples, None, None)
    everything = members(world.images, samples, CLASSES)
    for label in CLASSES:
        seen, unseen = equal_sides(pictures, everything, label, 4)
        for side, splits in ((seen, {"train"}), (unseen, {"val", "test"})):
            images = world.images.iloc[side]
            assert len(set(side)) == 240
            assert images["patient_id"].nunique() == 120
            assert set(images["split"]) == splits
            assert set(images["class_name"]) == {label}
    assert (equal_sides(pictures, everything, label, 5)[0] != seen).any()


def test_a_class_missing_from_a_split_is_left_out(tmp_path, caplog):
    world = World(tmp_path)
    world.images.loc[world.images["class_name"] == "Effusion", "split"] = "train"
    table = world.audit(world.fresh())
    assert set(table.index.get_level_values("class_name")) == {"pooled", "No Finding"}
    assert table.loc[("memorised_fraction", "pooled"), "n"] == SYNTHETIC
