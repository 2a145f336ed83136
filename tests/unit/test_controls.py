"""Controls: noise is uniform, planted copies are of the training split, and nearly their sources."""

import itertools
from functools import reduce

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.stats import chisquare

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import CONTROLS, IMAGES
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.features.draw_controls import draw_controls, jittered
from workflow_scripts.metrics.copies import core, moves, nearer, nearest

SIZE = 32
# Images of a single finding: (class, split): number.
NUMBERS = {
    ("Effusion", "train"): 40,
    ("Effusion", "val"): 5,
    ("Effusion", "test"): 30,
    ("Mass", "train"): 3,
    ("Mass", "val"): 2,
    ("Mass", "test"): 12,
}
SEVERAL = 6  # training and as many test images of both findings


def films(count: int, rng: np.random.Generator, size: int = SIZE) -> np.ndarray:
    """Return smooth images, each another one, uint8 (count, size, size)."""
    fields = gaussian_filter(rng.normal(size=(count, size, size)), size / 12.8, axes=(1, 2))
    return (128 + 35 * fields / fields.std()).round().clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A table of images and its shards."""
    folder = tmp_path_factory.mktemp("real")
    rows = [
        {"class_name": label, "split": split, "findings": label}
        for (label, split), count in NUMBERS.items()
        for _ in range(count)
    ]
    rows += [
        {"class_name": "Mass", "split": split, "findings": "Effusion|Mass"}
        for split in ("train", "test")
        for _ in range(SEVERAL)
    ]
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rows).sample(frac=1, random_state=0, ignore_index=True)
    count = len(table)
    table["image_id"] = [f"film_{number:03d}.png" for number in range(count)]
    table["patient_id"] = table["image_id"].str.slice(0, 8)
    table["class_id"] = table["class_name"].map({"Effusion": 0, "Mass": 1})
    table["age_years"], table["sex"], table["view"] = 50.0, "F", "PA"
    half = count // 2
    table["shard"] = ["a"] * half + ["b"] * (count - half)
    table["row"] = [*rng.permutation(half), *rng.permutation(count - half)]
    write_table(table, folder / "images.parquet", IMAGES)
    np.save(folder / "a.npy", films(half, rng))
    np.save(folder / "b.npy", films(count - half, rng))
    return folder / "images.parquet", [folder / "a.npy", folder / "b.npy"]


def drawn(real, folder, seed=4):
    """Draw controls into a folder; return each as images and table."""
    draw_controls(*real, seed, folder / "noise.npy", folder / "planted.npy")
    controls = {}
    for name in ("noise", "planted"):
        index = read_table(folder / f"{name}.parquet", CONTROLS)
        controls[name] = ImageStore(index, [folder / f"{name}.npy"]).all(), index
    return controls


@pytest.fixture(scope="module")
def controls(real, tmp_path_factory):
    return drawn(real, tmp_path_factory.mktemp("controls"))


def test_noise_is_uniform_and_as_many_as_test_images(controls):
    images, index = controls["noise"]
    assert images.shape == (42, SIZE, SIZE)
    assert images.dtype == np.uint8
    assert index[["class_name", "source_image_id"]].isna().all(axis=None)
    assert chisquare(np.bincount(images.ravel(), minlength=256)).pvalue > 0.001
    between = np.corrcoef(images.reshape(len(images), -1).astype(float))
    assert np.abs(between[np.triu_indices(len(images), 1)]).max() < 5 / SIZE


def test_copies_are_of_single_finding_training_images(real, controls):
    _, index = controls["planted"]
    table = read_table(real[0], IMAGES).set_index("image_id")
    sources = table.loc[index["source_image_id"]]
    assert set(sources["split"]) == {"train"}
    assert (sources["findings"] == sources["class_name"]).all()
    assert index["class_name"].tolist() == sources["class_name"].tolist()
    assert index["source_image_id"].is_unique
    assert index["class_name"].value_counts().to_dict() == {"Effusion": 16, "Mass": 3}
    assert not set(index["image_id"]) & set(table.index)


def sources_of(real, index):
    """Return the images that were copied, in the order of the copies."""
    table = read_table(real[0], IMAGES).set_index("image_id", drop=False)
    return ImageStore(table.loc[index["source_image_id"]], real[1]).all()


def test_copies_are_their_sources_but_for_the_jitter(real, controls):
    """Undo every shift in turn: at one, a straight line and noise of one grey level are left."""
    copies, index = controls["planted"]
    inner = slice(2, SIZE - 2)
    for copy, source in zip(copies, sources_of(real, index), strict=True):
        assert (copy != source).any()
        fits = []
        for shift in itertools.product((-1, 0, 1), repeat=2):
            x = np.roll(source, shift, (0, 1))[inner, inner].ravel().astype(float)
            y = copy[inner, inner].ravel().astype(float)
            contrast, offset = np.polyfit(x, y, 1)
            brightness = offset + (contrast - 1) * source.mean()
            fits.append((np.std(y - contrast * x - offset), contrast, brightness))
        grain, contrast, brightness = min(fits)
        assert 0.7 < grain < 1.4
        assert abs(contrast - 1) < 0.03 + 0.01
        assert abs(brightness) < 3 + 0.6


def test_each_copy_is_nearer_to_its_source_than_to_any_other_image(real, controls):
    copies, index = controls["planted"]
    table = read_table(real[0], IMAGES)
    every = ImageStore(table, real[1]).all().astype(float)
    own = pd.Index(table["image_id"]).get_indexer(index["source_image_id"])
    distances = np.abs(copies[:, None] - every).mean((2, 3))
    np.testing.assert_array_equal(distances.argmin(1), own)
    first, second = np.partition(distances, 1, axis=1)[:, :2].T
    assert (first < second / 2).all()


@pytest.mark.parametrize("size", [64, 128, 256])
def test_copies_are_found_in_pixels_at_every_size(size):
    rng = np.random.default_rng(size)
    sources = films(20, rng, size)
    copies = np.stack([jittered(image, rng) for image in sources])
    views = (nearest(core(copies, *move), core(sources)) for move in moves(size))
    found = reduce(nearer, views)
    assert found.position.tolist() == list(range(20))
    # At least half as near as the nearest of other films.
    others = nearest(core(sources), core(sources), np.arange(20), np.arange(20)).distance
    assert found.distance.max() < others.min() / 2
    shifts = [
        min(
            itertools.product(range(-size // 64, size // 64 + 1), repeat=2),
            key=lambda by: np.abs(np.roll(source, by, (0, 1)) - copy.astype(float)).mean(),
        )
        for copy, source in zip(copies[:8], sources, strict=False)
    ]
    assert np.abs(shifts).max() == size // 64


def test_images_that_show_nothing_are_copied_only_where_there_are_no_others(real, tmp_path):
    table = read_table(real[0], IMAGES)
    train = (table["split"] == "train") & (table["findings"] == table["class_name"])
    flat = train & ((table["class_name"] == "Mass") | (table.index % 2 == 0))
    rng = np.random.default_rng(0)
    for path in real[1]:
        images = np.load(path)
        rows = table["row"][flat & (table["shard"] == path.stem)]
        images[rows] = rng.normal(90, 1, (len(rows), SIZE, SIZE)).round()
        np.save(tmp_path / path.name, images)
    shards = [tmp_path / path.name for path in real[1]]
    _, index = drawn((real[0], shards), tmp_path)["planted"]
    nothing = set(table["image_id"][flat])
    by_class = index.groupby("class_name")["source_image_id"].agg(set)
    assert len(by_class["Effusion"]) == 16
    assert not by_class["Effusion"] & nothing
    assert len(by_class["Mass"] & nothing) == 3


def test_jitter_varies_between_copies(real, controls):
    copies, index = controls["planted"]
    change = (copies.astype(float) - sources_of(real, index)).mean((1, 2))
    assert change.max() - change.min() > 2


@given(st.integers(0, 2**32), st.integers(0, 255), st.integers(8, 40))
def test_a_blank_film_only_changes_brightness_and_grain(seed, grey, size):
    copy = jittered(np.full((size, size), grey, dtype=np.uint8), np.random.default_rng(seed))
    assert copy.dtype == np.uint8
    assert copy.shape == (size, size)
    assert np.abs(copy.astype(int) - grey).max() <= 3 + 7
    assert np.abs(copy.mean() - grey) <= 3 + 1


def test_the_seed_decides_every_byte(real, tmp_path):
    for run, seed in [("first", 4), ("second", 4), ("other", 5)]:
        (tmp_path / run).mkdir()
        drawn(real, tmp_path / run, seed)
    for name in ("noise.npy", "noise.parquet", "planted.npy", "planted.parquet"):
        first = (tmp_path / "first" / name).read_bytes()
        assert first == (tmp_path / "second" / name).read_bytes()
        if name != "noise.parquet":  # which says how many there are, and of nothing
            assert first != (tmp_path / "other" / name).read_bytes()


@pytest.mark.parametrize("split", ["train", "test"])
def test_nothing_to_judge_by_is_said(split, real, tmp_path):
    table = read_table(real[0], IMAGES)
    table["findings"] = table["findings"].where(table["split"] != split, "Effusion|Mass")
    write_table(table, tmp_path / "images.parquet", IMAGES)
    with pytest.raises(InputError, match="nothing to judge by"):
        drawn((tmp_path / "images.parquet", real[1]), tmp_path)
