"""The step: which pairs are compared, what each row says."""

from dataclasses import astuple
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision

from tests.films import CLASSES, PER_CLASS, files, good_samples, write_real, write_samples
from tests.several import with_several
from workflow_scripts.common.files import sha256_of
from workflow_scripts.common.schemas import IMAGES, METRICS, SAMPLES
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.evaluate.measure_diversity import (
    diversity_rows,
    equal_pairs,
    measure_diversity,
)
from workflow_scripts.evaluate.rows import SETS, Pictures
from workflow_scripts.evaluate.sets import members


def alike() -> np.ndarray:
    """One image per class, a little noise upon it."""
    rng = np.random.default_rng(1)
    one = good_samples()[[0, PER_CLASS]].repeat(PER_CLASS, axis=0)
    return (one + rng.normal(0, 3, one.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_real(folder)
    write_samples(folder / "good", good_samples())
    write_samples(folder / "alike", alike())
    write_samples(folder / "equal", good_samples()[[0, PER_CLASS]].repeat(PER_CLASS, axis=0))
    torch.manual_seed(0)
    backbone = torchvision.models.squeezenet1_1(weights=None)
    torch.save(backbone.state_dict(), folder / "squeeze.pt")
    return folder


def measure(world: Path, kind: str, output: Path, seed: int = 4, lpips: bool = False):
    measure_diversity(
        *astuple(files(world, world / kind)),
        CLASSES,
        {"squeeze": world / "squeeze.pt"} if lpips else {},
        pairs=12,
        seed=seed,
        metrics=output.with_suffix(".parquet"),
    )
    return read_table(output.with_suffix(".parquet"), METRICS).set_index(["metric", "class_name"])


@pytest.fixture(scope="module")
def good(world, tmp_path_factory) -> pd.DataFrame:
    return measure(world, "good", tmp_path_factory.mktemp("good") / "m.parquet", lpips=True)


def test_rows_and_names(world, good):
    assert list(good.index) == [
        (metric, label)
        for metric in ("msssim_diversity", "lpips_diversity")
        for label in ("pooled", *CLASSES)
    ]
    assert good.loc["msssim_diversity", "n"].to_dict() == {
        "pooled": 24,
        **dict.fromkeys(CLASSES, 12),
    }
    assert (good["ceiling"] == 0).all()
    assert set(good["ceiling_of"]) == {"equal images"}
    assert good[["value", "floor", "train"]].notna().all(axis=None)
    assert set(good.loc["lpips_diversity", "weights_sha256"]) == {sha256_of(world / "squeeze.pt")}
    # No published name without the published weights.
    assert not good["name"].str.contains("LPIPS").any()


def test_variety_of_good_alike_and_equal_images(world, good, tmp_path):
    cell = good.loc[("msssim_diversity", "pooled")]
    assert cell["value"] == pytest.approx(1, abs=0.1)
    assert cell["low"] < 1 < cell["high"]
    few = measure(world, "alike", tmp_path / "alike").loc[("msssim_diversity", "pooled")]
    assert few["high"] < 0.8 * cell["low"]
    none = measure(world, "equal", tmp_path / "equal").loc[("msssim_diversity", "pooled")]
    assert none["value"] == pytest.approx(none["ceiling"], abs=1e-6)


def test_pairs_are_equally_many_and_never_of_one_patient(world):
    images = read_table(world / "images.parquet", IMAGES)
    samples = read_table(world / "good" / "samples.parquet", SAMPLES)
    pictures, everything = Pictures(images, samples), members(images, samples, CLASSES)
    drawn = equal_pairs(pictures, everything, 1000, 0)
    for label in CLASSES:
        assert len({len(drawn[name][label]) for name in SETS}) == 1
        for name in SETS:
            pairs = drawn[name][label]
            assert np.isin(pairs, everything[name][label]).all()
            owners = pictures.owners(name, pairs.ravel()).reshape(pairs.shape)
            assert (owners[:, 0] != owners[:, 1]).all()
    # The test split is the poorest: 11 patients with 2 images of a class, 231 − 11 pairs.
    assert len(drawn["train"]["Cardiomegaly"]) == 220


def test_without_two_patients_of_a_class_there_is_no_diversity(world, caplog):
    images = read_table(world / "images.parquet", IMAGES).assign(patient_id="the only one")
    samples = read_table(world / "good" / "samples.parquet", SAMPLES)
    everything = {name: {label: np.arange(4) for label in CLASSES} for name in SETS}
    assert list(diversity_rows(Pictures(images, samples), everything, {}, 5, 0)) == []
    assert "Cardiomegaly: no diversity without images of two patients" in caplog.text


@pytest.mark.parametrize("flat", [["Cardiomegaly"], CLASSES])
def test_a_class_whose_test_images_are_all_alike_is_left_out(flat, world, tmp_path, caplog):
    images = read_table(world / "images.parquet", IMAGES)
    pixels = np.load(world / "part.npy")
    pixels[(images["split"] == "test") & images["class_name"].isin(flat)] = 120
    np.save(tmp_path / "part.npy", pixels)
    for name in ("images.parquet", "good"):
        (tmp_path / name).symlink_to(world / name)
    table = measure(tmp_path, "good", tmp_path / "m.parquet")
    left = [label for label in ("pooled", *CLASSES) if label not in flat and flat != CLASSES]
    assert [label for _, label in table.index] == left
    for label in flat:
        assert f"{label}: no msssim_diversity" in caplog.text


def test_the_same_bytes_twice_and_other_pairs_by_seed(world, good, tmp_path):
    for name in ("a", "b"):
        again = measure(world, "good", tmp_path / name)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    other = measure(world, "good", tmp_path / "c", seed=5)
    key = ("msssim_diversity", "pooled")
    assert again.loc[key, "value"] == good.loc[key, "value"] != other.loc[key, "value"]


def test_real_images_of_several_findings_change_no_number(world, good, tmp_path):
    more = with_several(read_table(world / "images.parquet", IMAGES))
    write_table(more, tmp_path / "images.parquet", IMAGES)
    for name in ("part.npy", "good"):
        (tmp_path / name).symlink_to(world / name)
    again = measure(tmp_path, "good", tmp_path / "m.parquet")
    pd.testing.assert_frame_equal(again, good.loc[["msssim_diversity"]], check_dtype=False)
