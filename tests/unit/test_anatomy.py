"""The measuring device: that it measures, that it says when it does not, and what is compared."""

import logging

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wasserstein_distance
from sklearn.kernel_ridge import KernelRidge

from tests.films import CLASSES, PER_CLASS, films, good_samples, write_real, write_samples
from workflow_scripts.common.store import ImageStore
from workflow_scripts.evaluate import anatomy
from workflow_scripts.evaluate.anatomy import anatomy_rows, compare, looked_at
from workflow_scripts.evaluate.rows import Pictures, metrics_table
from workflow_scripts.evaluate.sets import members
from workflow_scripts.metrics.anatomy import NOISE, RELIABLE, coarse, determination, fit


def discs(count: int, seed: int, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    radius = rng.uniform(4, 12, count)
    images = films(radius, rng)
    return images.repeat(size // 32, axis=1).repeat(size // 32, axis=2), radius


@pytest.mark.parametrize("size", [32, 64])
def test_reads_the_size_off_unseen_films(size):
    taught, sizes = discs(200, 0, size)
    device = fit(coarse(taught), sizes)
    images, radius = discs(50, 1, size)
    x = coarse(images)
    assert determination(device, x, radius) > 0.95
    assert np.abs(device.predict(x) - radius).mean() < 0.4
    # Exposure and contrast say nothing of it.
    dim = (images * 0.6 + 20).astype(np.uint8)
    np.testing.assert_allclose(device.predict(coarse(dim)), device.predict(x), atol=0.2)


def test_is_ridge_regression_with_a_kernel():
    images, radius = discs(60, 0)
    x = coarse(images)
    squared = np.square(x[:, None] - x).sum(axis=2)[np.triu_indices(60, 1)]
    ridge = KernelRidge(alpha=NOISE, kernel="rbf", gamma=1 / np.median(squared))
    ridge.fit(x, radius - radius.mean())
    seen = coarse(discs(9, 1)[0])
    expected = ridge.predict(seen) + radius.mean()
    np.testing.assert_allclose(fit(x, radius).predict(seen), expected, rtol=1e-8)


def test_a_size_that_does_not_show_is_not_measured():
    images, radius = discs(150, 0)
    x, shuffled = coarse(images), np.random.default_rng(2).permutation(radius)
    assert determination(fit(x[:100], shuffled[:100]), x[100:], shuffled[100:]) < 0.3
    assert np.isnan(determination(fit(x, radius), x[:1], radius[:1]))


def test_coarse_images_of_any_size_and_flat_ones():
    for size in (8, 16, 40, 75):
        flat = np.full((2, size, size), 7, np.uint8)
        assert np.isfinite(coarse(flat)).all()
    assert coarse(discs(3, 0, 64)[0]).shape == (3, 256)


def judged(folder, drawn: np.ndarray, shuffle: bool = False) -> pd.DataFrame:
    """Rows for discs whose radius is the truth of both sizes; `shuffle`: of another film's."""
    images, radius = write_real(folder)
    samples = write_samples(folder / "samples", drawn)
    shards = sorted((folder / "samples").glob("*_000.npy"))
    pictures = Pictures(
        images,
        samples,
        ImageStore(images, [folder / "part.npy"]),
        ImageStore(samples, shards),
    )
    size = np.random.default_rng(1).permutation(radius) if shuffle else radius
    truth = pd.DataFrame(
        {
            "image_id": images["image_id"],
            "cardiothoracic_ratio": size / 16,
            "effusion_height": size / 32,
        }
    ).sample(frac=1, random_state=0)  # the order of the table is nobody's business
    rows = anatomy_rows(pictures, members(images, samples, CLASSES), truth, seed=4)
    return metrics_table(rows, 4).set_index(["metric", "class_name"])


def test_good_images_are_near_the_floor_and_swapped_classes_at_the_ceiling(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    good = judged(tmp_path, good_samples())
    swapped = judged(tmp_path, np.roll(good_samples(), PER_CLASS, axis=0))
    assert caplog.text.count("of the variance in 48 unseen films") == 4
    metric = "cardiothoracic_ratio_distance"
    assert set(good.index.get_level_values(0)) == {metric, "effusion_height_distance"}
    for label in ("pooled", *CLASSES):
        cell, wrong = good.loc[(metric, label)], swapped.loc[(metric, label)]
        assert cell["value"] < 0.3 * cell["ceiling"]
        assert wrong["value"] == pytest.approx(wrong["ceiling"], rel=0.3)
        assert wrong["value"] == pytest.approx(5 / 16, rel=0.3)  # 10 against 5, of 16
        assert np.isnan(cell["train"])
        assert cell["ceiling_of"] == "wrong class"
        assert 0 <= cell["low"] <= cell["value"] <= cell["high"]
    # Of 22 test films of each class, one of each patient.
    assert good.loc[metric, "n"].to_dict() == {"pooled": 22, **dict.fromkeys(CLASSES, 11)}
    own = [good.loc[(metric, label), "value"] for label in CLASSES]
    assert good.loc[(metric, "pooled"), "value"] == pytest.approx(np.mean(own))
    half = good.loc["effusion_height_distance", "value"] / good.loc[metric, "value"]
    np.testing.assert_allclose(half, 0.5, rtol=1e-6)


def test_left_out_where_unseen_films_show_that_the_device_is_poor(tmp_path, caplog):
    assert judged(tmp_path, good_samples(), shuffle=True).empty
    assert "effusion_height_distance is left out" in caplog.text
    assert 0.5 < RELIABLE < 1


def test_images_are_read_a_block_at_a_time():
    images = discs(600, 0)[0]
    read = []

    class Read:
        def gather(self, name, rows):
            read.append(len(rows))
            return images[rows]

    rows = np.arange(600)[::-1]
    np.testing.assert_array_equal(looked_at(Read(), "train", rows), coarse(images[rows]))
    assert max(read) <= 256


def test_no_more_training_films_are_read_than_are_learnt_from(tmp_path, monkeypatch):
    read = {}
    gather = Pictures.gather

    def count(self, name, rows):
        read[name] = read.get(name, 0) + len(rows)
        return gather(self, name, rows)

    monkeypatch.setattr(Pictures, "gather", count)
    monkeypatch.setattr(anatomy, "MOST", 50)
    assert not judged(tmp_path, good_samples()).empty
    # Every second of the 80; the reference, one of each patient and class, once for both sizes.
    assert (read["train"], read["reference"]) == (40, 22)


def test_distance_is_scipys_per_class():
    rng = np.random.default_rng(0)
    sizes = {
        name: {label: rng.normal(shift, 1, 15) for label in "ab"}
        for shift, name in enumerate(("synthetic", "reference", "floor", "ceiling"))
    }
    owners = [np.arange(30), np.arange(30)]
    estimates, count = compare(sizes, ["a", "b"], owners, 0)
    assert count == 30
    for name in ("synthetic", "floor", "ceiling"):
        gaps = [wasserstein_distance(sizes[name][one], sizes["reference"][one]) for one in "ab"]
        assert estimates[name].value == pytest.approx(np.mean(gaps))
