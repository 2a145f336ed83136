"""Reduced images are enlarged again, and held against the true ones."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio
from skimage.transform import downscale_local_mean

from tests.unit.restoring import STORES, model_of, shown_in, write_store
from workflow_scripts.common.levels import shown
from workflow_scripts.common.schemas import IMAGES, RESTORATION, RESTORATION_SUMMARY
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table
from workflow_scripts.superresolution.consistency import inconsistency
from workflow_scripts.superresolution.enlarge_images import enlarge_images
from workflow_scripts.superresolution.measure_superresolution import measure_superresolution
from workflow_scripts.superresolution.plot_superresolution import plot_superresolution

FACTOR = 2
ANSWERS = ("bicubic", "sample", "mean")
DRAWN = {
    "images": 5,
    "sampler": {"method": "dpm++2m", "steps": 2, "spacing": "auto"},
    "samples": 2,
    "seed": 3,
    "device": "cpu",
    "precision": "fp32",
}


def chain(folder, channels=1, bits=8, **settings):
    """Enlarge and measure in a folder; return its files by name."""
    images, shards = write_store(folder, channels=channels, bits=bits)
    given = {"kind": "reduction", "factor": FACTOR}
    model = model_of(folder / "model", channels, bits, conditions={}, given=given)
    arrays = {name: folder / f"{name}.npy" for name in ("reduced", *ANSWERS)}
    files = {name: folder / f"{name}.parquet" for name in ("table", "restoration", "summary")}
    enlarge_images(model, images, shards, files["table"], arrays, DRAWN | settings)
    config = {"factor": FACTOR, "samples": 2, "bootstrap": 100, "seed": 3}
    answers = [arrays[name] for name in ANSWERS]
    results = files["restoration"], files["summary"]
    measure_superresolution(files["table"], shards, *answers, {}, *results, config)
    return arrays | files | {"shards": shards}


@pytest.fixture(scope="module", params=STORES, ids=lambda store: f"{store[0]} x {store[1]} bits")
def run(request, tmp_path_factory):
    return chain(tmp_path_factory.mktemp("superresolution"), *request.param)


def truth_of(run):
    return ImageStore(read_table(run["table"], IMAGES), run["shards"]).all()


def test_the_small_image_is_the_mean_of_boxes(run):
    truth, reduced = truth_of(run), np.load(run["reduced"])
    factors = (1, FACTOR, FACTOR, 1)[: truth.ndim]
    expected = downscale_local_mean(truth.astype(float), factors)
    assert reduced.dtype == truth.dtype
    assert np.abs(reduced - expected).max() <= 0.5 + 1e-3 * np.iinfo(truth.dtype).max / 255


def keys(size, factor, a=-0.75):
    """Cubic convolution (Keys 1981) from `size` pixels to `factor` times as many, as a matrix."""

    def kernel(d):
        near = (a + 2) * d**3 - (a + 3) * d**2 + 1
        far = a * (d**3 - 5 * d**2 + 8 * d - 4)
        return np.where(d <= 1, near, np.where(d < 2, far, 0))

    matrix = np.zeros((size * factor, size))
    for row in range(size * factor):
        at = (row + 0.5) / factor - 0.5  # pixels have an extent
        for source in range(int(np.floor(at)) - 1, int(np.floor(at)) + 3):
            matrix[row, np.clip(source, 0, size - 1)] += kernel(abs(at - source))
    return matrix


def test_the_baseline_is_cubic_interpolation_of_the_small_image(run):
    truth, bicubic = truth_of(run), np.load(run["bicubic"])
    planes = truth[..., None] if truth.ndim == 3 else truth
    small = downscale_local_mean(planes.astype(float), (1, FACTOR, FACTOR, 1))
    rows = keys(small.shape[1], FACTOR)
    most = np.iinfo(truth.dtype).max
    expected = np.einsum("ai,nijc,bj->nabc", rows, small, rows).clip(0, most).reshape(truth.shape)
    assert np.abs(bicubic - expected).max() <= 0.5 + 1e-3 * most / 255


def test_the_model_draws_something_else(run):
    truth, (bicubic, sample, mean) = truth_of(run), (np.load(run[name]) for name in ANSWERS)
    for answer in (sample, mean):
        assert answer.dtype == truth.dtype and answer.shape == truth.shape
        assert (answer != bicubic).mean() > 0.5
    assert (sample != mean).mean() > 0.5


def test_measures_and_their_means(run):
    truth, table = truth_of(run), read_table(run["restoration"], RESTORATION)
    assert set(table["condition"]) == {"x2"}
    for (method, samples), name in zip(
        [("bicubic", 1), ("sr3", 1), ("sr3", 2)], ANSWERS, strict=True
    ):
        own = table[(table["method"] == method) & (table["samples"] == samples)]
        answer = np.load(run[name])
        most = np.iinfo(truth.dtype).max
        for psnr, off, true, found in zip(
            own["psnr"], own["inconsistency"], truth, answer, strict=True
        ):
            assert psnr == pytest.approx(peak_signal_noise_ratio(true, found, data_range=most))
            factors = (FACTOR, FACTOR, 1)[: true.ndim]
            small = [downscale_local_mean(part.astype(float), factors) for part in (true, found)]
            assert off == pytest.approx(np.abs(small[0] - small[1]).mean() / most)
    summary = read_table(run["summary"], RESTORATION_SUMMARY)
    ours = summary[summary["method"] == "sr3"]
    assert set(ours["metric"]) == {"psnr", "ssim", "mae", "inconsistency"}
    assert ours["difference_high"].notna().all()


def test_an_image_does_not_depend_on_how_many_there_are(tmp_path):
    many, few = chain(tmp_path / "many"), chain(tmp_path / "few", images=2)
    for name in ANSWERS:
        assert (np.load(few[name]) == np.load(many[name])[:2]).all()


def test_the_panel_shows_small_images_answers_and_errors(run, tmp_path, saved):
    files = [run[name] for name in ("table", "shards", "reduced", *ANSWERS)]
    config = {"factor": FACTOR, "samples": 2, "phantom": True}
    figure = saved(plot_superresolution)
    plot_superresolution(*files, tmp_path / "panel.png", config)
    cells = shown_in(figure["panel"], columns=8)
    answers = ["bicubic", "model, one draw", "mean of 2 draws"]
    assert list(cells) == ["reduced", *answers, "truth", *(f"error:\n{name}" for name in answers)]
    title = figure["panel"].get_suptitle()
    assert "Phantom films reduced 2 times" in title
    truth = truth_of(run)
    assert np.array_equal(cells["truth"], shown(truth))
    assert np.array_equal(cells["reduced"], shown(np.load(run["reduced"])))
    most = np.iinfo(truth.dtype).max
    for name, file in zip(answers, ANSWERS, strict=True):
        answer = np.load(run[file])
        assert np.array_equal(cells[name], shown(answer))
        error = 100 * (answer.astype(float) - truth) / most
        error = error.mean(axis=3) if error.ndim == 4 else error
        assert cells[f"error:\n{name}"] == pytest.approx(error)


def test_detail_that_the_small_image_leaves_open_is_consistent_and_brightness_is_not():
    truth = np.full((1, 8, 8), 100, dtype=np.uint8)
    detail = truth.copy()
    detail[:, ::2], detail[:, 1::2] = 60, 140
    assert inconsistency(detail, truth, 2) == [0]
    assert inconsistency(detail, truth, 4) == [0]
    assert inconsistency(truth + 7, truth, 2) == [7]
    deep = np.zeros((2, 8, 8, 3), dtype=np.uint16)
    assert list(inconsistency(deep + np.uint16(60_000), deep, 4)) == [60_000, 60_000]
