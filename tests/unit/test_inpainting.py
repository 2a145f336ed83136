"""Hidden pixels are filled in, known ones stay as they are, and both are measured."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio
from skimage.restoration import inpaint_biharmonic

from tests.unit.restoring import STORES, model_of, shown_in, write_store
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.levels import shown
from workflow_scripts.common.panels import HIDDEN
from workflow_scripts.common.schemas import MASKS, RESTORATION, RESTORATION_SUMMARY
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table
from workflow_scripts.inpainting.draw_masks import draw_masks
from workflow_scripts.inpainting.fill_biharmonic import fill_biharmonic
from workflow_scripts.inpainting.filling import biharmonic, with_known
from workflow_scripts.inpainting.inpaint_images import inpaint_images
from workflow_scripts.inpainting.masks import draw_mask, read_mask
from workflow_scripts.inpainting.measure_inpainting import measure_inpainting
from workflow_scripts.inpainting.plot_inpainting import plot_inpainting

KINDS = ["box", "strokes", "half"]
MASKED = {
    "images": 5,
    "seed": 3,
    "masks": {"kinds": KINDS, "share": 0.2, "folder": None},
}
DRAWN = {
    "sampler": {"steps": 2, "jump_length": 1, "resamples": 2, "guidance": 1.0},
    "samples": 2,
    "seed": 3,
    "device": "cpu",
    "precision": "fp32",
}


def chain(folder, channels=1, bits=8, **settings):
    """Mask, fill in and measure in a folder; return its files by name."""
    images, shards = write_store(folder, channels=channels, bits=bits)
    model = model_of(folder / "model", channels, bits)
    files = {name: folder / f"{name}.npy" for name in ("masks", "biharmonic", "sample", "mean")} | {
        name: folder / f"{name}.parquet" for name in ("table", "restoration", "summary")
    }
    draw_masks(images, shards, [], files["masks"], files["table"], MASKED | settings)
    masked = files["table"], files["masks"], shards
    fill_biharmonic(*masked, files["biharmonic"])
    inpaint_images(model, *masked, files["sample"], files["mean"], DRAWN)
    answers = [files[name] for name in ("biharmonic", "sample", "mean")]
    measured = {"samples": 2, "bootstrap": 100, "seed": 3}
    results = files["restoration"], files["summary"]
    measure_inpainting(*masked, *answers, {}, *results, measured)
    return files | {"shards": shards, "model": model}


@pytest.fixture(scope="module", params=STORES, ids=lambda store: f"{store[0]} x {store[1]} bits")
def run(request, tmp_path_factory):
    return chain(tmp_path_factory.mktemp("inpainting"), *request.param)


def arrays(run):
    rows = read_table(run["table"], MASKS)
    parts = [np.load(run[name]) for name in ("masks", "biharmonic", "sample", "mean")]
    return rows, ImageStore(rows, run["shards"]).all(), *parts


def test_every_image_is_masked_once_by_each_kind(run):
    rows, _, hidden, *_ = arrays(run)
    assert list(rows["mask"]) == [kind for kind in KINDS for _ in range(5)]
    assert rows.groupby("image_id")["mask"].nunique().eq(3).all()
    np.testing.assert_allclose(rows["hidden"], hidden.mean(axis=(1, 2)))
    assert set(rows["split"]) == {"test"}


def test_known_pixels_are_untouched_to_the_bit_and_hidden_ones_drawn(run):
    _, images, hidden, *answers = arrays(run)
    for filled in answers:
        assert filled.dtype == images.dtype and filled.shape == images.shape
        assert (filled[~hidden] == images[~hidden]).all()
        assert (filled[hidden] != images[hidden]).mean() > 0.5


def test_the_mean_is_of_other_draws_than_the_first_alone(run):
    _, _, hidden, _, sample, mean = arrays(run)
    assert (sample[hidden] != mean[hidden]).mean() > 0.5


def test_measures_are_taken_within_the_mask(run):
    rows, images, hidden, filled, *_ = arrays(run)
    table = read_table(run["restoration"], RESTORATION)
    assert len(table) == 3 * len(rows)
    own = table[table["method"] == "biharmonic"].reset_index(drop=True)
    assert list(own["condition"]) == list(rows["mask"])
    most = 65535 if images.dtype == np.uint16 else 255
    for k in (0, 7, 14):
        inside = images[k][hidden[k]], filled[k][hidden[k]]
        expected = peak_signal_noise_ratio(*inside, data_range=most)
        assert own["psnr"][k] == pytest.approx(expected)
        error = np.abs(inside[0].astype(float) - inside[1]).mean() / most
        assert own["mae"][k] == pytest.approx(error)
    summary = read_table(run["summary"], RESTORATION_SUMMARY)
    assert set(summary["condition"]) == set(KINDS)
    ours = summary[summary["method"] == "repaint"]
    assert set(ours["samples"]) == {1, 2} and ours["difference_low"].notna().all()
    assert summary.loc[summary["method"] == "biharmonic", "difference"].isna().all()


def test_the_panel_shows_images_masks_answers_and_errors(run, tmp_path, saved):
    files = [run[name] for name in ("table", "masks", "shards", "biharmonic", "sample", "mean")]
    config = {"samples": 2, "model": "m", "phantom": True}
    figure = saved(plot_inpainting)
    plot_inpainting(*files, tmp_path / "panel.png", config)
    cells = shown_in(figure["panel"], columns=8)
    answers = ["biharmonic", "model, one draw", "mean of 2 draws"]
    assert list(cells) == ["image", "masked", *answers, *(f"error:\n{name}" for name in answers)]
    assert "Phantom films" in figure["panel"].get_suptitle()
    _, truth, hidden, *filled = arrays(run)
    places = [0, 1, 5, 6, 10, 11]  # two of each kind of mask
    assert np.array_equal(cells["image"], shown(truth[places]))
    coloured = (cells["masked"] == HIDDEN).all(axis=3)
    assert np.array_equal(coloured, hidden[places])
    most = np.iinfo(truth.dtype).max
    for name, answer in zip(answers, filled, strict=True):
        assert np.array_equal(cells[name], shown(answer[places]))
        error = 100 * (answer[places].astype(float) - truth[places]) / most
        error = error.mean(axis=3) if error.ndim == 4 else error
        assert cells[f"error:\n{name}"] == pytest.approx(error)


def test_a_draw_depends_on_its_image_and_mask_alone(tmp_path):
    first = chain(tmp_path / "all")
    some = chain(
        tmp_path / "some", images=2, masks={"kinds": ["half"], "share": 0.2, "folder": None}
    )
    rows, *_, sample, mean = arrays(first)
    few, *_, few_sample, few_mean = arrays(some)
    place = rows.reset_index().set_index(["image_id", "mask"])["index"]
    at = [place[name, mask] for name, mask in zip(few["image_id"], few["mask"], strict=True)]
    assert (few_sample == sample[at]).all() and (few_mean == mean[at]).all()


def test_a_single_draw_is_its_own_mean_and_stands_once_in_the_table(tmp_path):
    run = chain(tmp_path)
    masked = run["table"], run["masks"], run["shards"]
    inpaint_images(run["model"], *masked, run["sample"], run["mean"], DRAWN | {"samples": 1})
    assert (np.load(run["sample"]) == np.load(run["mean"])).all()
    answers = [run[name] for name in ("biharmonic", "sample", "mean")]
    config = {"samples": 1, "bootstrap": 100, "seed": 3}
    measure_inpainting(*masked, *answers, {}, run["restoration"], run["summary"], config)
    table = read_table(run["restoration"], RESTORATION)
    assert table.groupby("method")["samples"].unique().map(list).to_dict() == {
        "biharmonic": [1],
        "repaint": [1],
    }


def test_masks_of_a_folder_that_hide_nothing_stop_the_step(tmp_path):
    images, shards = write_store(tmp_path)
    path = tmp_path / "masks" / "all.png"
    path.parent.mkdir()
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(path)
    config = MASKED | {"masks": {"kinds": ["box", "files"], "share": 0.2, "folder": path.parent}}
    outputs = tmp_path / "masks.npy", tmp_path / "masks.parquet"
    with pytest.raises(InputError, match=r"all\.png hides nothing"):
        draw_masks(images, shards, [path], *outputs, config)
    assert not any(output.exists() for output in outputs)
    Image.fromarray(np.pad(np.full((4, 16), 255, np.uint8), [(0, 12), (0, 0)])).save(path)
    draw_masks(images, shards, [path], *outputs, config)
    rows = pd.read_parquet(outputs[1])
    assert (rows.loc[rows["mask"] == "files", "hidden"] == 0.25).all()


def test_what_is_nearly_black_at_16_bits_hides_nothing(tmp_path):
    """Pillow clips 16 bits to 8, so that 300 of 65535 became white."""
    levels = np.full((16, 16), 300, np.uint16)
    levels[:4] = 40_000
    Image.fromarray(levels).save(tmp_path / "deep.png")
    assert (read_mask(tmp_path / "deep.png", 16) == (levels > 300)).all()


# -- the classical answer


@given(
    st.sampled_from(["box", "strokes", "half"]),
    st.integers(0, 99),
    st.sampled_from([np.uint8, np.uint16]),
    st.sampled_from([(), (3,)]),
)
def test_known_levels_are_put_back_whatever_type_and_mask(kind, seed, dtype, channels):
    rng = np.random.default_rng(seed)
    most = np.iinfo(dtype).max
    images, filled = rng.integers(0, most, (2, 4, 16, 16, *channels), endpoint=True, dtype=dtype)
    hidden = np.stack([draw_mask(kind, 16, 0.3, rng) for _ in range(4)])
    found = with_known(filled, images, hidden)
    assert found.dtype == dtype
    assert (found[hidden] == filled[hidden]).all() and (found[~hidden] == images[~hidden]).all()


@pytest.mark.parametrize(("channels", "bits"), STORES)
def test_the_biharmonic_answer_is_scikit_images_and_never_sees_what_is_hidden(
    tmp_path, channels, bits
):
    _, (shard,) = write_store(tmp_path, channels=channels, bits=bits)
    image = np.load(shard)[5]
    hidden = draw_mask("box", 16, 0.2, np.random.default_rng(1))
    found = biharmonic(image, hidden)
    axis = -1 if channels > 1 else None
    expected = inpaint_biharmonic(image / image.max(), hidden, channel_axis=axis) * image.max()
    assert np.abs(found.astype(float) - expected).max() <= 0.5 + 1e-6
    spoiled = image.copy()
    spoiled[hidden] = np.iinfo(image.dtype).max
    assert (biharmonic(spoiled, hidden)[hidden] == found[hidden]).all()


def test_a_plane_is_continued_as_a_plane():
    y, x = np.mgrid[:20, :20]
    image = (20 + 5 * x + 3 * y).astype(np.uint8)
    hidden = np.zeros(image.shape, dtype=bool)
    hidden[6:12, 5:15] = True
    assert (biharmonic(np.where(hidden, 0, image).astype(np.uint8), hidden) == image).all()
