"""The step: good images at the floor, blurred, shifted and noisy ones away from it."""

from dataclasses import astuple
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from tests.films import CLASSES, files, good_samples, write_real, write_samples
from tests.several import with_several
from workflow_scripts.common.figures import plt
from workflow_scripts.common.schemas import CONTROLS, IMAGES, METRICS
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.evaluate.measure_physics import measure_physics

KINDS = {
    "good": lambda x: x,
    "blurred": lambda x: gaussian_filter(x.astype(float), (0, 1, 1)).astype(np.uint8),
    "brighter": lambda x: np.minimum(x.astype(int) + 20, 255).astype(np.uint8),
    "noise": lambda x: np.random.default_rng(7).integers(0, 256, x.shape, dtype=np.uint8),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_real(folder)
    for kind, change in KINDS.items():
        write_samples(folder / kind, change(good_samples()))
    noise = np.random.default_rng(3).integers(0, 256, (44, 32, 32), dtype=np.uint8)
    np.save(folder / "noise.npy", noise)
    nothing = pd.Series([None] * 44, dtype=object)
    controls = pd.DataFrame(
        {
            "image_id": [f"noise_{number:03d}" for number in range(44)],
            "shard": "noise",
            "row": np.arange(44),
            "class_name": nothing,
            "source_image_id": nothing,
        }
    )
    write_table(controls, folder / "noise.parquet", CONTROLS)
    return folder


def measure(world: Path, kind: str, output: Path, seed: int = 4) -> pd.DataFrame:
    measure_physics(
        *astuple(files(world, world / kind)),
        world / "noise.npy",
        world / "noise.parquet",
        CLASSES,
        seed,
        output / "metrics.parquet",
        output / "physics.png",
    )
    return read_table(output / "metrics.parquet", METRICS).set_index(["metric", "class_name"])


@pytest.fixture(scope="module")
def measured(world, tmp_path_factory) -> dict[str, pd.DataFrame]:
    return {kind: measure(world, kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


def test_every_row_has_its_floor_its_ceiling_and_its_n(measured):
    table = measured["good"]
    metrics = ("intensity_distance", "spectrum_distance", "sharpness_ratio")
    assert list(table.index) == [
        (metric, label) for label in ("pooled", *CLASSES) for metric in metrics
    ]
    assert table[["value", "floor", "train", "ceiling"]].notna().all(axis=None)
    assert set(table["ceiling_of"]) == {"noise"}
    assert set(table["interval"]) == {"grouped jackknife 95 %"}
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()
    assert (table["low"] >= 0).all()
    # The poorest set is the test split: 22 of each class, two of each patient.
    counts = {"pooled": 22, **dict.fromkeys(CLASSES, 11)}
    assert table.loc["sharpness_ratio", "n"].to_dict() == counts
    assert table["n"].equals(table["n_reference"])


def test_what_was_done_to_the_images_shows_in_the_measure_of_it(measured):
    def value(kind: str, metric: str) -> float:
        return measured[kind].loc[(metric, "pooled"), "value"]

    good = measured["good"].loc[("intensity_distance", "pooled")]
    assert good["value"] < 3 * max(good["floor"], 1)
    assert value("brighter", "intensity_distance") == pytest.approx(20, abs=2)
    assert value("brighter", "sharpness_ratio") == pytest.approx(1, abs=0.05)
    assert value("good", "sharpness_ratio") == pytest.approx(1, abs=0.05)
    assert value("blurred", "sharpness_ratio") < 0.6
    assert value("blurred", "spectrum_distance") > 5 > 1 > value("good", "spectrum_distance")
    for metric in ("intensity_distance", "spectrum_distance", "sharpness_ratio"):
        cell = measured["noise"].loc[(metric, "pooled")]
        assert cell["value"] == pytest.approx(cell["ceiling"], rel=0.05)


def test_the_same_bytes_twice_and_no_figure_left_open(world, measured, tmp_path):
    for name in ("a", "b"):
        again = measure(world, "good", tmp_path / name)
    pd.testing.assert_frame_equal(again, measured["good"])
    for name in ("metrics.parquet", "physics.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert not plt.get_fignums()


def test_real_images_of_several_findings_change_no_number(world, measured, tmp_path):
    more = with_several(read_table(world / "images.parquet", IMAGES))
    write_table(more, tmp_path / "images.parquet", IMAGES)
    for name in ("part.npy", "noise.npy", "noise.parquet", "good"):
        (tmp_path / name).symlink_to(world / name)
    pd.testing.assert_frame_equal(measure(tmp_path, "good", tmp_path / "out"), measured["good"])


@pytest.mark.parametrize("flat", [["Cardiomegaly"], CLASSES])
def test_there_is_no_sharpness_beside_flat_films(flat, world, tmp_path, caplog):
    images = read_table(world / "images.parquet", IMAGES)
    pixels = np.load(world / "part.npy")
    pixels[(images["split"] == "test") & images["class_name"].isin(flat)] = 120
    np.save(tmp_path / "part.npy", pixels)
    for name in ("images.parquet", "noise.npy", "noise.parquet", "good"):
        (tmp_path / name).symlink_to(world / name)
    table = measure(tmp_path, "good", tmp_path / "out")
    for metric in ("intensity_distance", "spectrum_distance"):
        assert list(table.loc[metric].index) == ["pooled", *CLASSES]
    left = [label for label in ("pooled", *CLASSES) if label not in flat and flat != CLASSES]
    assert [label for metric, label in table.index if metric == "sharpness_ratio"] == left
    for label in flat:
        assert f"{label}: no sharpness_ratio" in caplog.text


def test_without_images_in_every_set_there_are_no_rows_and_the_figure_says_so(
    world, tmp_path, caplog
):
    images = read_table(world / "images.parquet", IMAGES)
    write_table(images[images["split"] != "val"], tmp_path / "images.parquet", IMAGES)
    for name in ("part.npy", "noise.npy", "noise.parquet", "good"):
        (tmp_path / name).symlink_to(world / name)
    assert measure(tmp_path, "good", tmp_path / "out").empty
    assert "Cardiomegaly: no physics without" in caplog.text
    assert (tmp_path / "out" / "physics.png").stat().st_size > 1000
