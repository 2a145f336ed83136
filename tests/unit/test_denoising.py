"""The parts of a denoising study: patches, noise, non-local means, what is kept, what is drawn."""

import json

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image as PillowImage
from scipy.stats import rice
from skimage.restoration import denoise_nl_means

from tests.untrained import DDPM, untrained
from workflow_scripts.common import configuration_rules
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import (
    CUT_IMAGES,
    IMAGES,
    METADATA,
    NLM_TUNING,
    PATCH_INDEX,
    RESTORATION,
    RESTORATION_SUMMARY,
    SWEEP,
    UNCERTAINTY,
)
from workflow_scripts.common.store import ImageStore, list_shards
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.denoising import noisy as noisy_module
from workflow_scripts.denoising.apply_nlm import apply_nlm
from workflow_scripts.denoising.denoise import denoise
from workflow_scripts.denoising.export_examples import export_examples
from workflow_scripts.denoising.export_patches import export_patches
from workflow_scripts.denoising.figures.plot_denoisers import plot_denoisers
from workflow_scripts.denoising.judged import Judged, chosen, judged, spread, unit
from workflow_scripts.denoising.learned import Learned
from workflow_scripts.denoising.measure_uncertainty import measure_uncertainty
from workflow_scripts.denoising.nlm import location, non_local_means, rician_mean
from workflow_scripts.denoising.noisy import NOISY, condition, given, noisy, to_network, to_unit
from workflow_scripts.denoising.patches.cut_patches import cut_patches
from workflow_scripts.denoising.patches.cutting import content, kept, places, stored
from workflow_scripts.denoising.patches.list_patches import list_patches
from workflow_scripts.denoising.restored import Restored, read_restored, write_restored
from workflow_scripts.denoising.rows import mask_of, rows_of
from workflow_scripts.denoising.score_denoising import score_denoising
from workflow_scripts.denoising.score_sweep import score_sweep
from workflow_scripts.denoising.tune_nlm import tune_nlm
from workflow_scripts.denoising.uncertainty import uncertainty
from workflow_scripts.diffusion.model import load_model
from workflow_scripts.formats.images import Image, Unreadable

CUT = {
    "size": 16,
    "stride": 8,
    "per_image": 3,
    "background": 0.1,
    "least_content": 0.5,
    "seed": 0,
}
GAUSSIAN = {"kind": "gaussian", "variances": [0.01, 0.04], "seed": 5}
RICIAN = {"kind": "rician", "variances": [0.01], "seed": 5}
NLM = {"kind": "nlm", "strengths": [0.2, 0.6, 0.8, 1.4], "patch_size": 5, "patch_distance": 6}
SCORE = {"data_range": 1.0, "mask_above": None}
SAMPLER = {
    "method": "ddpm",
    "steps": 3,
    "spacing": "auto",
    "samples": 4,
    "seed": 0,
    "guidance": 1.0,
}


def film(number, height=48, width=40, channels=1, deep=False):
    """A smooth image, black in its upper left corner."""
    y, x = np.mgrid[:height, :width]
    grey = 130 + 60 * np.sin(x / (5 + number % 3)) + 50 * np.cos(y / 7 + number)
    grey[:16, :16] = 3
    image = grey.clip(0, 255).astype(np.float32)
    if channels > 1:
        image = np.stack([image * (1 - 0.2 * c) for c in range(channels)], axis=-1)
    return image if deep else image.astype(np.uint8)


# -- patches


def test_places_cover_what_whole_patches_can():
    assert places(48, 40, 16, 8) == [
        (top, left) for top in range(0, 33, 8) for left in range(0, 25, 8)
    ]
    assert places(16, 23, 16, 8) == [(0, 0)]
    assert places(15, 40, 16, 8) == []


@pytest.mark.parametrize("channels", [1, 3])
def test_content_is_the_share_of_bright_pixels(channels):
    image = film(1, channels=channels)
    grid = places(48, 40, 16, 8)
    shares = content(image, 16, grid, 25.5)
    for share, (top, left) in zip(shares, grid, strict=True):
        patch = image[top : top + 16, left : left + 16]
        bright = patch > 25.5 if channels == 1 else (patch > 25.5).any(axis=2)
        assert share == bright.mean()
    assert shares[0] == 0
    assert len(content(image, 64, [], 25.5)) == 0


def test_patches_are_kept_by_content_and_by_lot():
    shares = np.array([0.1, 0.9, 0.5, 0.7, 1.0, 0.49])
    assert kept(shares, 0.5, None, 0, "a").tolist() == [1, 2, 3, 4]
    two = kept(shares, 0.5, 2, 0, "a")
    assert len(two) == 2 and set(two) <= {1, 2, 3, 4} and (np.diff(two) > 0).all()
    lots = {tuple(kept(shares, 0.5, 2, 0, name)) for name in "abcdefgh"}
    assert len(lots) > 1
    assert (kept(shares, 0.5, 2, 0, "a") == two).all()


def test_stored_levels():
    levels = np.array([[0, 127.5, 254.6, 255, 300, -2]], dtype=np.float32)
    assert stored(levels, 8).tolist() == [[0, 128, 255, 255, 255, 0]]
    deep = np.arange(0, 65536, 7)
    assert (stored((deep / 257).astype(np.float32)[None], 16)[0] == deep).all()
    assert stored(np.uint8([[3, 200]]), 16).tolist() == [[771, 51400]]
    assert unit(stored(levels, 16))[0, 1] == pytest.approx(0.5, abs=1e-5)


@pytest.fixture(params=[(1, 8), (1, 16), (3, 8)], ids=["grey", "deep", "colour"])
def cut(request, tmp_path):
    """Thirty images cut into patches, and listed: their folder, and the images."""
    return cut_into(tmp_path, *request.param)


@pytest.fixture
def grey(tmp_path):
    return cut_into(tmp_path, 1, 8)


def cut_into(folder, channels, bits, **settings):
    films = {f"i{n:02d}": film(n, channels=channels, deep=bits == 16) for n in range(30)}
    halves = {"part_001": list(films)[:15], "part_002": list(films)[15:]}
    for name, ids in halves.items():
        cut_patches(
            name,
            [Image(image_id, f"{image_id}.png", films[image_id], "L") for image_id in ids],
            CUT | settings,
            channels,
            bits,
            0,
            folder / f"{name}.npy",
            folder / f"{name}.parquet",
            folder / f"{name}.images.parquet",
        )
    list_shards(sorted(folder.glob("*.npy")), folder / "shards.parquet")
    write_metadata(folder, films)
    join(folder)
    return folder, films


def write_metadata(folder, names, split=lambda n: ("train", "val", "test")[n % 3]):
    """Two images to a patient, and one image that is in no cohort."""
    rows = [
        {
            "image_id": name,
            "patient_id": f"p{number // 2 * 2 % 29}",
            "class_id": 0,
            "class_name": "No Finding",
            "findings": "No Finding",
            "age_years": 50.0,
            "sex": "F",
            "view": "PA",
            "split": split(number // 2),
        }
        for number, name in enumerate(list(names)[:-1])
    ]
    write_table(pd.DataFrame(rows), folder / "metadata.parquet", METADATA)


def join(folder):
    parts = [folder / "part_001", folder / "part_002"]
    list_patches(
        folder / "metadata.parquet",
        [path.with_suffix(".parquet") for path in parts],
        [path.with_suffix(".images.parquet") for path in parts],
        folder / "images.parquet",
        folder / "patches.parquet",
        folder / "patches.json",
    )


def test_every_patch_is_what_stands_there_in_the_image(cut):
    folder, films = cut
    table = read_table(folder / "patches.parquet", PATCH_INDEX)
    pixels = ImageStore(table, [folder / "shards.parquet"]).all()
    assert len(table) > 40
    for row, patch in zip(table.itertuples(), pixels, strict=True):
        whole = films[row.source_image_id]
        square = whole[row.top : row.top + 16, row.left : row.left + 16]
        assert (patch == stored(square, 16 if patch.dtype == np.uint16 else 8)).all()
        assert row.image_id == f"{row.source_image_id}@{row.top},{row.left}"
        assert row.content >= 0.5


def test_what_is_dropped_is_counted(grey):
    folder, films = grey
    cuts = pd.concat([read_table(p, CUT_IMAGES) for p in folder.glob("*.images.parquet")])
    assert set(cuts["source_image_id"]) == set(films)
    assert (cuts["places"] == len(places(48, 40, 16, 8))).all()
    assert (cuts["background"] >= 1).all()
    assert (cuts["background"] + cuts["left_out"] + cuts["kept"] == cuts["places"]).all()
    report = json.loads((folder / "patches.json").read_text())
    assert report["patients_in_two_splits"] == [] and report["images_outside_the_cohort"] == 1
    assert report["kept"] == sum(row["patches"] for row in report["splits"].values())
    assert report["dropped_as_background"] > 0


def test_splits_of_patches_share_no_patient_and_are_those_of_the_images(grey):
    folder, _ = grey
    table = read_table(folder / "images.parquet", IMAGES)
    places_ = read_table(folder / "patches.parquet", PATCH_INDEX)
    assert table["image_id"].tolist() == places_["image_id"].tolist()
    assert (table.groupby("patient_id")["split"].nunique() == 1).all()
    assert set(table["split"]) == {"train", "val", "test"}
    split = read_table(folder / "metadata.parquet", METADATA).set_index("image_id")["split"]
    assert (places_["source_image_id"].map(split) == table["split"]).all()


def test_a_patient_in_two_splits_stops_the_study(grey):
    folder, _ = grey
    (folder / "images.parquet").unlink()
    metadata = read_table(folder / "metadata.parquet", METADATA)
    metadata.loc[0, "split"] = "val" if metadata["split"][1] != "val" else "test"
    write_table(metadata, folder / "metadata.parquet", METADATA)
    with pytest.raises(InputError, match="in two splits: p0"):
        join(folder)
    assert not (folder / "images.parquet").exists()


def test_what_cannot_be_cut_says_so(tmp_path):
    good = Image("a", "a.png", film(1), "L")

    def attempt(images, max_rejects=0, **settings):
        cut_patches(
            "part", images, CUT | settings, 1, 8, max_rejects,
            tmp_path / "p.npy", tmp_path / "p.parquet", tmp_path / "c.parquet",
        )  # fmt: skip

    broken = Image("b", "b.png", Unreadable("damaged PNG"), "")
    with pytest.raises(InputError, match=r"1 images cannot be used.*b\.png: damaged PNG"):
        attempt([good, broken])
    with pytest.raises(InputError, match="has this image already"):
        attempt([good, good])
    assert list(tmp_path.iterdir()) == []
    attempt([good, broken], max_rejects=1)
    assert len(np.load(tmp_path / "p.npy")) == 3


@pytest.mark.parametrize("settings", [{"size": 64}, {"least_content": 1.0, "background": 0.99}])
def test_without_any_patch_the_listing_says_so(tmp_path, caplog, settings):
    with (
        caplog.at_level("WARNING", "synthorax"),
        pytest.raises(InputError, match=r"lower patches\.size"),
    ):
        cut_into(tmp_path, 1, 8, **settings)
    assert "part_002: not one of 15 images has a patch" in caplog.text


def test_an_archive_may_have_no_patch_and_images_that_cannot_be_read(tmp_path, grey):
    folder, _ = grey
    before = read_table(folder / "patches.parquet", PATCH_INDEX)
    dark = Image("i00", "i00.png", np.zeros((48, 40), np.uint8), "L")
    broken = Image("i01", "i01.png", Unreadable("damaged PNG"), "")
    cut_patches(
        "part_001", [dark, broken], CUT, 1, 8, 1,
        *(folder / f"part_001{suffix}" for suffix in (".npy", ".parquet", ".images.parquet")),
    )  # fmt: skip
    list_shards(sorted(folder.glob("*.npy")), folder / "shards.parquet")
    join(folder)
    table = read_table(folder / "patches.parquet", PATCH_INDEX)
    kept = before[before["shard"] == "part_002"].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        table[table["source_image_id"] != "i29"].reset_index(drop=True), kept
    )
    assert len(ImageStore(table, [folder / "shards.parquet"]).all()) == len(table)
    report = json.loads((folder / "patches.json").read_text())
    assert (report["images_without_a_patch"], report["images_not_cut"]) == (1, 14)


# -- noise


@pytest.mark.parametrize("variance", [0.0025, 0.04])
def test_gaussian_noise_has_its_variance(variance):
    clean = np.full((64, 32, 32), 0.5, np.float32)
    found = noisy(clean, [str(n) for n in range(64)], GAUSSIAN, variance) - clean
    assert found.mean() == pytest.approx(0, abs=4 * np.sqrt(variance / found.size))
    assert found.var() == pytest.approx(variance, rel=0.02)
    pixels = found.reshape(64, -1)
    assert abs(np.corrcoef(pixels)[np.triu_indices(64, 1)]).max() < 0.15


@pytest.mark.parametrize("level", [0.0, 0.05, 0.6])
def test_rician_noise_has_the_moments_of_rice(level):
    clean = np.full((64, 32, 32), level, np.float32)
    found = noisy(clean, [str(n) for n in range(64)], RICIAN, 0.01)
    expected = rice(level / 0.1, scale=0.1)
    assert found.mean() == pytest.approx(expected.mean(), rel=0.005)
    assert found.var() == pytest.approx(expected.var(), rel=0.02)
    assert found.min() >= 0


@pytest.mark.parametrize("settings", [GAUSSIAN, RICIAN])
@pytest.mark.parametrize("channels", [1, 3])
def test_noise_is_a_function_of_the_patch_whatever_its_batch(settings, channels):
    rng = np.random.default_rng(0)
    shape = (6, 13, 13) if channels == 1 else (6, 13, 13, 3)
    clean, names = rng.random(shape, dtype=np.float32), list("abcdef")
    whole = noisy(clean, names, settings, 0.01)
    order = [4, 2, 5]
    part = noisy(clean[order], [names[n] for n in order], settings, 0.01)
    assert (whole[order] == part).all()
    assert (whole != noisy(clean, names, settings | {"seed": 6}, 0.01)).any()
    assert (noisy(clean[:1].repeat(2, 0), ["a", "b"], settings, 0.01)[0] != whole[1]).any()


def test_all_variances_scale_the_same_noise():
    clean = np.full((2, 16, 16), 0.5, np.float32)
    one, four = (noisy(clean, ["a", "b"], GAUSSIAN, v) - clean for v in (0.01, 0.04))
    assert four == pytest.approx(2 * one, abs=1e-6)


@pytest.mark.parametrize("shape", [(2, 5, 6), (2, 5, 6, 3)])
def test_units(shape):
    images = np.random.default_rng(0).random(shape, dtype=np.float32)
    x = to_network(images)
    assert x.shape == (2, 1 if len(shape) == 3 else 3, 5, 6)
    assert x.min() >= -1 and x.max() <= 1
    assert to_unit(x) == pytest.approx(images, abs=1e-6)


def test_names_of_conditions():
    assert condition(GAUSSIAN, 0.0025) == "gaussian 0.0025"
    assert given(GAUSSIAN | {"variances": [0.04, 0.01]})["variances"] == [0.01, 0.04]
    assert noisy_module.NOISY == configuration_rules.NOISY


# -- non-local means


def test_the_mean_of_magnitudes_is_that_of_rice_and_can_be_undone():
    signal = np.array([0, 0.01, 0.1, 0.5, 2.0, 40.0])
    for sigma in (0.05, 0.2):
        mean = rician_mean(signal, sigma)
        assert mean[:4] == pytest.approx(rice(signal[:4] / sigma, scale=sigma).mean(), rel=1e-6)
        assert location(mean, sigma) == pytest.approx(signal, abs=0.002 * sigma)
    assert location(np.array([0.0, 0.05]), 0.1).tolist() == [0, 0]
    assert location(np.array([1000.0]), 0.1)[0] == pytest.approx(1000)


@pytest.mark.parametrize("channels", [1, 3])
def test_non_local_means_is_that_of_scikit_image(channels):
    image = film(2, channels=channels).astype(np.float32) / 255
    found = non_local_means(image, "gaussian", 0.01, 0.8, NLM)
    expected = denoise_nl_means(
        image.astype(float), patch_size=5, patch_distance=6, h=0.08, sigma=0.1, fast_mode=True,
        channel_axis=None if channels == 1 else 2,
    )  # fmt: skip
    assert found == pytest.approx(expected, abs=1e-6)


def test_non_local_means_of_magnitudes_is_dark_where_the_signal_is():
    clean = np.zeros((1, 32, 32), np.float32)
    degraded = noisy(clean, ["a"], RICIAN, 0.01)[0]
    assert degraded.mean() > 0.1
    assert non_local_means(degraded, "rician", 0.01, 0.8, NLM).mean() < 0.04


def tuned(folder, noise=GAUSSIAN, method=NLM, score=SCORE):
    config = {"method": method, "noise": noise, "images": 8, "score": score, "seed": 0}
    tune_nlm(folder / "images.parquet", [folder / "shards.parquet"], folder / "nlm.parquet", config)
    return read_table(folder / "nlm.parquet", NLM_TUNING)


def test_the_strength_is_tuned_for_each_level_on_validation_patches(grey):
    folder, _ = grey
    table = tuned(folder)
    assert len(table) == 2 * 4 and table.groupby("condition")["chosen"].sum().eq(1).all()
    best = table.loc[table.groupby("condition")["psnr"].idxmax()]
    assert best["chosen"].all()
    patches = judged(folder / "images.parquet", [folder / "shards.parquet"], "val", 8, 0)
    assert set(patches.table["split"]) == {"val"}
    for row in best.itertuples():
        degraded = noisy(patches.clean, patches.names, GAUSSIAN, row.variance)
        values = []
        for clean, image in zip(patches.clean, degraded, strict=True):
            sigma = np.sqrt(row.variance)
            restored = denoise_nl_means(
                image.astype(float), 5, 6, row.strength * sigma, fast_mode=True, sigma=sigma
            )
            error = np.mean((restored.clip(0, 1) - clean) ** 2)
            values.append(-10 * np.log10(error))
        assert row.psnr == pytest.approx(np.mean(values), abs=1e-4)


def test_the_strength_is_tuned_on_the_pixels_that_are_judged(grey):
    folder, _ = grey
    whole, bright = tuned(folder), tuned(folder, score=SCORE | {"mask_above": 0.6})
    assert (whole["psnr"] != bright["psnr"]).all()


# -- which patches are judged


def test_judged_patches_are_spread_over_patients():
    rows = pd.DataFrame(
        {
            "patient_id": np.repeat(list("abcd"), [1, 2, 6, 6]),
            "image_id": [f"{n}" for n in range(15)],
        }
    )
    four = spread(rows, 4, 0)
    assert sorted(four["patient_id"]) == list("abcd")
    nine = spread(rows, 9, 0)["patient_id"].value_counts()
    assert nine.to_dict() == {"a": 1, "b": 2, "c": 3, "d": 3}
    assert len(spread(rows, 99, 0)) == 15
    assert spread(rows, 9, 0).equals(spread(rows.sample(frac=1, random_state=1), 9, 0))
    assert not spread(rows, 9, 0).equals(spread(rows, 9, 1))


def test_shown_patches_have_contrast_and_different_patients():
    clean = np.linspace(0, 1, 5)[:, None, None] * film(1)[None, 16:32, 16:32] / 255
    patches = Judged(pd.DataFrame({"patient_id": list("aabbc")}), clean)
    assert chosen(patches, 3) == [4, 3, 1]
    assert chosen(patches, 4) == [4, 3, 1, 2]


# -- files


@pytest.mark.parametrize("settings", [GAUSSIAN, RICIAN])
def test_hdf5_holds_the_patches_bit_for_bit(cut, settings):
    folder, _ = cut
    shards = [folder / "shards.parquet"]
    for name in ("one.h5", "two.h5"):
        export_patches(
            folder / "images.parquet", folder / "patches.parquet", shards, folder / name, settings
        )
    assert (folder / "one.h5").read_bytes() == (folder / "two.h5").read_bytes()
    table = read_table(folder / "images.parquet", IMAGES)
    with h5py.File(folder / "one.h5") as file:
        assert file.attrs["noise"] == settings["kind"]
        assert file.attrs["variances"].tolist() == settings["variances"]
        for split in ("train", "val", "test"):
            rows, group = table[table["split"] == split], file[split]
            clean = ImageStore(rows, shards).all()
            assert group["clean"].dtype == clean.dtype
            assert (group["clean"][()] == clean).all()
            assert group["patch_id"].asstr()[()].tolist() == rows["image_id"].tolist()
            assert group["patient_id"].asstr()[()].tolist() == rows["patient_id"].tolist()
            ids = group["image_id"].asstr()[()]
            made = zip(ids, group["top"][()], group["left"][()], strict=True)
            assert [f"{i}@{top},{left}" for i, top, left in made] == rows["image_id"].tolist()
            assert ("noisy" in group) == (split != "train")
            if split == "test":
                for level, variance in enumerate(settings["variances"]):
                    names = rows["image_id"].tolist()
                    expected = noisy(unit(clean), names, settings, variance)
                    assert (group["noisy"][level] == expected).all()


def test_restored_patches_come_back(tmp_path):
    images = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 6)).astype(np.float32)
    before = Restored(["a", "b", "ü"], [0.01, 0.04], images)
    write_restored(before, tmp_path / "r.h5")
    after = read_restored(tmp_path / "r.h5")
    assert (after.names, after.variances) == (before.names, before.variances)
    assert (after.images == images).all() and after.samples == 4
    assert after.mean(2) == pytest.approx(images[:, :, :2].mean(axis=2))
    (tmp_path / "r.h5").write_bytes((tmp_path / "r.h5").read_bytes()[:500])
    with pytest.raises(InputError, match="holds no restored patches"):
        read_restored(tmp_path / "r.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(InputError, match="holds no restored patches"):
        read_restored(tmp_path / "other.h5")


# -- the methods


def model(folder, **options):
    """A model with random weights, for patches of 16 pixels."""
    return load_model(untrained(folder, **options))


NOISE_TOLD = {"noise": [0.01, 0.04]}


def test_answers_depend_on_the_patch_alone(tmp_path):
    method = Learned(
        model(tmp_path, conditions=NOISE_TOLD, given=given(GAUSSIAN)), SAMPLER, 3, 0, "fp32"
    )
    degraded = np.random.default_rng(0).random((7, 16, 16), dtype=np.float32)
    names = list("abcdefg")
    whole = method(degraded, names, 0.01)
    assert whole.shape == (7, 3, 16, 16)
    assert (whole[:, 0] != whole[:, 1]).any(axis=(1, 2)).all()
    part = method(degraded[[5, 2]], ["f", "c"], 0.01)
    assert (part == whole[[5, 2]]).all()
    assert (method(degraded, names, 0.04) != whole).any()
    other = Learned(method.model, SAMPLER, 3, 1, "fp32")
    assert (other(degraded, names, 0.01) != whole).any()


def test_guidance_leads_away_from_what_the_model_says_without_the_noisy_image(tmp_path):
    trained = model(tmp_path, conditions=NOISE_TOLD, given=given(GAUSSIAN))
    degraded = np.random.default_rng(0).random((2, 16, 16), dtype=np.float32)
    one, two = (
        Learned(trained, SAMPLER | {"guidance": weight}, 1, 0, "fp32")(degraded, ["a", "b"], 0.01)
        for weight in (1.0, 1.5)
    )
    assert np.abs(one - two).max() > 1e-3


def test_a_regressor_takes_what_it_says_off_the_noisy_image(tmp_path):
    trained = model(
        tmp_path,
        diffusion={"process": "regression", "loss": "l2"},
        conditions=NOISE_TOLD,
        given=given(GAUSSIAN),
    )
    degraded = np.random.default_rng(0).random((3, 16, 16), dtype=np.float32)
    found = Learned(trained, None, 1, 0, "fp32")(degraded, list("abc"), 0.01)
    c = trained.conditions.vector(noise=0.01).expand(3, -1)
    y = to_network(degraded)
    expected = y - trained.network(y, y.new_zeros(3), c)
    assert found[:, 0] == pytest.approx(to_unit(expected), abs=1e-5)


def test_a_model_of_clean_patches_starts_at_the_level_of_the_noise(tmp_path, monkeypatch):
    """The level's noise over signal is that of the patch, and a perfect denoiser is left alone."""
    trained = model(tmp_path, conditions={})
    asked = []

    def denoise(x, level, c, given=None):
        asked.append((x, level))
        return x / level.alpha

    monkeypatch.setattr(trained, "denoise", denoise)
    degraded = np.random.default_rng(0).random((2, 16, 16), dtype=np.float32)
    Learned(trained, SAMPLER, 2, 0, "fp32")(degraded, ["a", "b"], 0.04)
    x, level = asked[0]
    assert level.ratio == pytest.approx(2 * 0.2)
    assert level.ratio not in trained.process.ratios.tolist(), "between two time steps"
    expected = level.alpha * to_network(degraded).repeat_interleave(2, dim=0)
    assert x[:4].numpy() == pytest.approx(expected.numpy(), abs=1e-6)


def answers_of(folder, name, split="test", images=4, **sampler):
    """Let a model denoise patches."""
    config = {"noise": GAUSSIAN, "split": split, "images": images, "seed": 0, "precision": "fp32"}
    config |= {"device": "cpu", "sampler": SAMPLER | sampler}
    target = folder / f"{name}.h5"
    denoise(
        folder / "images.parquet", [folder / "shards.parquet"], folder / "model", target, config
    )
    return target


@pytest.fixture
def study(grey):
    """Four patches that two methods have denoised: non-local means, and one that draws answers."""
    folder, _ = grey
    tuned(folder)
    (folder / "model").mkdir()
    untrained(folder / "model", DDPM, NOISE_TOLD, given=given(GAUSSIAN))
    restored = {"nlm": folder / "nlm.h5", "ddpm": answers_of(folder, "ddpm")}
    apply_nlm(
        folder / "images.parquet", [folder / "shards.parquet"], folder / "nlm.parquet",
        restored["nlm"], {"method": NLM, "noise": GAUSSIAN, "images": 4, "seed": 0},
    )  # fmt: skip
    judging = {"noise": GAUSSIAN, "images": 4, "seed": 0, "score": SCORE, "bootstrap": 100}
    return folder, folder / "images.parquet", [folder / "shards.parquet"], restored, judging


def test_non_local_means_denoises_at_its_tuned_strength(study):
    folder, images, shards, restored, _ = study
    table = read_table(folder / "nlm.parquet", NLM_TUNING)
    found = read_restored(restored["nlm"])
    patches = judged(images, shards, "test", 4, 0)
    assert found.names == patches.names and found.variances == [0.01, 0.04]
    for level, variance in enumerate(found.variances):
        (strength,) = table.loc[table["chosen"] & (table["variance"] == variance), "strength"]
        degraded = noisy(patches.clean, patches.names, GAUSSIAN, variance)
        for number, image in enumerate(degraded):
            sigma = np.sqrt(variance)
            expected = denoise_nl_means(
                image.astype(float), 5, 6, strength * sigma, fast_mode=True, sigma=sigma
            )
            assert found.images[level, number, 0] == pytest.approx(expected, abs=1e-6)


def test_scores_are_of_every_method_and_of_the_noisy_patches(study):
    folder, images, shards, restored, judging = study
    score_denoising(
        images, shards, restored, folder / "rows.parquet", folder / "summary.parquet",
        judging | {"reference": "nlm"},
    )  # fmt: skip
    rows = read_table(folder / "rows.parquet", RESTORATION)
    assert set(rows.groupby(["method", "samples"]).groups) == {
        ("noisy", 1), ("nlm", 1), ("ddpm", 1), ("ddpm", 4),
    }  # fmt: skip
    assert len(rows) == 4 * 2 * 4
    # Noise of σ² 0.01, but for what clipping takes away, has a PSNR of 20 dB.
    of_noisy = rows[(rows["method"] == "noisy") & (rows["condition"] == "gaussian 0.01")]
    assert of_noisy["psnr"].mean() == pytest.approx(20, abs=1)
    summary = read_table(folder / "summary.parquet", RESTORATION_SUMMARY)
    gain = summary.set_index(["condition", "method", "samples", "metric"])["difference"]
    for level in ("gaussian 0.01", "gaussian 0.04"):
        assert gain[level, "noisy", 1, "psnr"] < 0
        assert np.isnan(gain[level, "nlm", 1, "psnr"])


def test_what_leaves_the_range_is_clipped_and_what_is_dark_can_be_left_out():
    clean = np.zeros((1, 16, 16), np.float32)
    clean[0, :, 8:] = 1
    patches = Judged(pd.DataFrame({"image_id": ["a"], "patient_id": ["p"]}), clean)
    shifted = clean[None, :, None] + np.where(clean > 0, 0.5, -0.5)
    restored = Restored(["a"], [0.01], shifted.astype(np.float32))
    (row,) = rows_of("m", restored, patches, GAUSSIAN, SCORE)
    assert row["mae"] == 0 and row["psnr"] == 100
    dim = Restored(["a"], [0.01], np.full_like(shifted, 0.5, dtype=np.float32))
    (row,) = rows_of("m", dim, patches, GAUSSIAN, SCORE | {"mask_above": 0.5})
    assert row["mae"] == pytest.approx(0.5)
    assert mask_of(clean[0], {"mask_above": 0.5}).sum() == 128
    assert mask_of(0 * clean[0], {"mask_above": 0.5}) is None
    with pytest.raises(ValueError, match="other patches"):
        list(rows_of("m", Restored(["b"], [0.01], shifted), patches, GAUSSIAN, SCORE))


def swept(folder, images, shards, judging):
    """Write the sweep of a model over two samplers and two numbers of steps: SWEEP and its rows."""
    cases = {
        (sampler, steps): answers_of(
            folder, f"{sampler}_{steps}", "val", 3, method=sampler, steps=steps
        )
        for sampler in ("ddim", "ddpm")
        for steps in (2, 4)
    }
    score_sweep(
        images, shards, cases, folder / "sweep_rows.parquet", folder / "sweep.parquet",
        judging | {"images": 3},
    )  # fmt: skip
    rows = read_table(folder / "sweep_rows.parquet", RESTORATION)
    return read_table(folder / "sweep.parquet", SWEEP), rows


def test_a_sweep_judges_each_sampler_and_number_of_steps_on_validation_patches(study):
    folder, images, shards, _, judging = study
    sweep, rows = swept(folder, images, shards, judging)
    assert set(rows["method"]) == {"ddim 2", "ddim 4", "ddpm 2", "ddpm 4"}
    assert len(rows) == 4 * 2 * 2 * 3
    table = read_table(images, IMAGES).set_index("image_id")
    assert set(table.loc[rows["image_id"], "split"]) == {"val"}
    assert len(sweep) == 4 * 2 * 2 * 3 and (sweep["n_images"] == 3).all()
    for row in sweep.itertuples():
        own = rows[
            (rows["method"] == f"{row.sampler} {row.steps}")
            & (rows["condition"] == row.condition)
            & (rows["samples"] == row.samples)
        ]
        assert row.value == pytest.approx(own[row.metric].mean())


def values_drawn(axes) -> list[list[float]]:
    """Return the values of each line but the diagonal, in an order of their own."""
    lines = [line for line in axes.lines if list(line.get_xdata()) != list(line.get_ydata())]
    return sorted(list(map(float, line.get_ydata())) for line in lines)


def values_in(table: pd.DataFrame, *apart: str, column: str = "value") -> list[list[float]]:
    """Return the values of each group of a table, in an order of their own."""
    return sorted(part[column].tolist() for _, part in table.groupby(list(apart), sort=False))


def test_figures_and_example_images(study, saved):
    folder, images, shards, restored, judging = study
    drawn, judged_spread = saved(plot_denoisers), saved(measure_uncertainty)
    score_denoising(
        images, shards, restored, folder / "rows.parquet", folder / "summary.parquet",
        judging | {"reference": "nlm"},
    )  # fmt: skip
    swept(folder, images, shards, judging)
    figures = {name: folder / f"{name}.png" for name in ("methods", "steps", "examples")}
    plot_denoisers(
        images, shards, restored, folder / "summary.parquet", folder / "sweep.parquet", figures,
        judging | {"swept": "ddpm"},
    )  # fmt: skip
    measure_uncertainty(
        images, shards, {"ddpm": restored["ddpm"]}, folder / "u.parquet", folder / "s.parquet",
        folder / "uncertainty.png", judging,
    )  # fmt: skip
    export_examples(images, shards, restored, folder / "e.tiff", folder / "e.png", judging)
    patches = judged(images, shards, "test", 4, 0)
    answers = read_restored(restored["ddpm"]).images
    summary = read_table(folder / "summary.parquet", RESTORATION_SUMMARY)
    summary = summary[summary["method"] != NOISY]  # so far off that the methods would look alike
    for axes, metric in zip(drawn["methods"].axes, ("psnr", "ssim", "mae"), strict=True):
        assert values_drawn(axes) == values_in(
            summary[summary["metric"] == metric], "method", "samples"
        )
    (legend,) = drawn["methods"].legends
    labels = {text.get_text() for text in legend.get_texts()}
    assert labels == {"nlm", "ddpm, mean of 4", "one answer"}
    sweep = read_table(folder / "sweep.parquet", SWEEP)
    parts = [part for _, part in sweep.groupby(["condition", "metric"], sort=False)]
    assert len(parts) == len(drawn["steps"].axes) == 2 * 3
    for axes, part in zip(drawn["steps"].axes, parts, strict=True):
        assert values_drawn(axes) == values_in(part.sort_values("steps"), "sampler", "samples")
    cells, first = drawn["examples"].axes, chosen(patches, 3)[0]
    assert [cell.get_title().rsplit("\n", 1)[0] for cell in cells[:4]] == [
        "clean", "noisy", "nlm", "ddpm\nmean of 4",
    ]  # fmt: skip
    mean, clean = answers[0, first].mean(axis=0), patches.clean[first]
    below = [0], [3], [4 + 3], [8 + 3]  # three rows of four for each patch: image, error, spread
    expected = clean, mean.clip(0, 1), np.abs(mean - clean), answers[0, first].std(axis=0, ddof=1)
    for (place,), image in zip(below, expected, strict=True):
        assert np.asarray(cells[place].images[0].get_array()) == pytest.approx(image, abs=1e-6)
    assert not cells[8 + 2].images, "one answer has no spread"
    table = read_table(folder / "u.parquet", UNCERTAINTY)
    coverage = table[table["measure"] == "coverage"].sort_values("expected")
    for axes, name in zip(judged_spread["uncertainty"].axes, ("0.01", "0.04"), strict=False):
        assert axes.get_title(loc="left") == f"gaussian {name}"
        own = coverage[coverage["condition"] == f"gaussian {name}"]
        assert values_drawn(axes) == values_in(own, "method")
    with PillowImage.open(folder / "e.png") as sheet:
        tiles = np.asarray(sheet)
    assert tiles.shape == (8 * 18 - 2, 4 * 18 - 2), "a row for each patch and noise, gaps of 2"
    assert (tiles[:16, :16] == (255 * patches.clean[first]).round()).all()
    pages = {}
    with tifffile.TiffFile(folder / "e.tiff") as file:
        for page in file.pages:
            assert page.dtype == np.float32 and page.shape == (16, 16)
            pages[page.description] = page.asarray()
    assert len(pages) == 4 * 2 * (2 + 1 + 3)
    for number, name in enumerate(patches.names):
        about = f"{name}, gaussian 0.04, "
        assert (pages[about + "clean"] == patches.clean[number]).all()
        degraded = noisy(patches.clean[[number]], [name], GAUSSIAN, 0.04)[0]
        assert (pages[about + "noisy"] == degraded).all()
        assert (pages[about + "ddpm, one answer"] == answers[1, number, 0]).all()
        mean = answers[1, number].mean(axis=0)
        assert pages[about + "ddpm, mean of 4"] == pytest.approx(mean, abs=1e-6)
        sd = answers[1, number].std(axis=0, ddof=1)
        assert pages[about + "ddpm, standard deviation"] == pytest.approx(sd, abs=1e-6)


# -- whether a posterior is calibrated


def verdicts(scale, seed, patients=40):
    """What is said of answers that scatter `scale` times as much as the truth does about them.

    Images of a patient share how hard they are.
    """
    rng = np.random.default_rng(seed)
    owners = np.repeat([f"p{k}" for k in range(patients)], 2)
    n = len(owners)
    width = 0.05 * np.repeat(np.exp(0.3 * rng.normal(size=patients)), 2)[:, None, None]
    width = width * np.exp(0.4 * rng.normal(size=(n, 12, 12)))
    centre = rng.random((n, 12, 12))
    truth = (centre + width * rng.normal(size=centre.shape)).astype(np.float32)
    drawn = centre[:, None] + scale * width[:, None] * rng.normal(size=(n, 6, 12, 12))
    names = [f"i{k}" for k in range(n)]
    patches = Judged(pd.DataFrame({"image_id": names, "patient_id": owners}), truth)
    restored = Restored(names, [0.01], drawn[None].astype(np.float32))
    table, spread_ = uncertainty("m", restored, patches, GAUSSIAN, SCORE, 300, seed)
    assert len(spread_) == 10 and len(table) == 3 + 1
    return [row["verdict"] for row in table]


def test_a_posterior_whose_spread_is_right_is_judged_calibrated():
    found = [verdict for seed in range(40) for verdict in verdicts(1.0, seed)]
    # 160 verdicts, each wrong in one case of twenty or a little more
    assert np.mean([verdict == "calibrated" for verdict in found]) > 0.87


@pytest.mark.parametrize(("scale", "expected"), [(0.7, "too narrow"), (1.5, "too wide")])
def test_a_posterior_whose_spread_is_wrong_is_found(scale, expected):
    assert {verdict for seed in range(5) for verdict in verdicts(scale, seed)} == {expected}


def test_one_patient_tells_nothing_of_others():
    assert set(verdicts(0.5, 0, patients=1)) == {"unknown"}
