"""A classifier that never saw a real image, asked about real ones."""

from dataclasses import astuple, replace

import numpy as np
import pytest

from tests.films import CLASSES, PER_CLASS, files, good_samples, write_real, write_samples
from workflow_scripts.classifier.train_on_synthetic import train_on_synthetic
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import IMAGES, SAMPLES
from workflow_scripts.common.tables import read_table, write_table

SETTINGS = {
    "backbone": "small",
    "steps": 30,
    "batch_size": 16,
    "learning_rate": 0.003,
    "weight_decay": 0.05,
    "seed": 3,
}


@pytest.fixture
def world(tmp_path):
    write_real(tmp_path)
    write_samples(tmp_path / "good", good_samples())
    return tmp_path


def run(world, synthetic: str, settings: dict = SETTINGS, given=None) -> np.ndarray:
    given = given or files(world, world / synthetic)
    output = world / "out" / f"{synthetic}.npy"
    train_on_synthetic(*astuple(given), settings, CLASSES, "cpu", output)
    return np.load(output)


def test_learns_from_synthetic_images_what_real_ones_show(world):
    seen = run(world, "good")
    images = read_table(world / "images.parquet", IMAGES)
    assert seen.shape == (len(images), 2)
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen.sum(axis=1), 1, rtol=1e-5)
    assert (seen.argmax(axis=1) == images["class_id"]).mean() > 0.9
    # Swapped classes teach the opposite: what is learnt comes from the synthetic images.
    write_samples(world / "swapped", np.roll(good_samples(), PER_CLASS, axis=0))
    swapped = run(world, "swapped")
    assert (swapped.argmax(axis=1) == images["class_id"]).mean() < 0.1


def test_same_bytes_twice_whatever_the_labels_of_real_images_and_other_by_seed(world):
    few = SETTINGS | {"steps": 3}
    first = run(world, "good", few)
    images = read_table(world / "images.parquet", IMAGES)
    images["class_id"], images["class_name"] = 1 - images["class_id"], CLASSES[0]
    write_table(images, world / "images.parquet", IMAGES)
    np.testing.assert_array_equal(run(world, "good", few), first)
    assert not np.array_equal(run(world, "good", few | {"seed": 4}), first)


def test_real_images_among_the_samples_are_refused(world):
    samples = read_table(world / "good" / "samples.parquet", SAMPLES)
    samples.loc[3, "image_id"] = "0007"
    write_table(samples, world / "good" / "samples.parquet", SAMPLES)
    with pytest.raises(InputError, match="given real ones: 0007"):
        run(world, "good")
    assert not (world / "out").exists()


def test_a_real_shard_among_the_synthetic_ones_is_refused(world):
    given = files(world, world / "good")
    given = replace(given, sample_shards=[*given.sample_shards, world / "good" / ".." / "part.npy"])
    with pytest.raises(InputError, match=r"given real ones: part\.npy"):
        run(world, "good", given=given)


def test_a_training_that_diverges_is_said(world):
    with pytest.raises(InputError, match="diverged"):
        run(world, "good", SETTINGS | {"learning_rate": 1e30, "steps": 6})
