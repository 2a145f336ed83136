"""Colour and depth behind the image store: what looks at images sees all of them.

Most images here are discs of one luminance, told apart by their colour alone: whatever went grey on
its way would see no difference between them. That it does is what the faults planted here show.
"""

import base64
from functools import reduce
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from tests.discs import COLOURS, discs, recoloured
from tests.untrained import untrained
from workflow_scripts.classifier.network import BACKBONES, build
from workflow_scripts.classifier.training import augment, predict, train
from workflow_scripts.classifier.weights import load, save
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.figures import tile
from workflow_scripts.common.levels import grey
from workflow_scripts.common.schemas import CONTROLS, IMAGES, SAMPLES
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.diffusion.sampler import DEFAULTS
from workflow_scripts.evaluate.measure_physics import measure_physics
from workflow_scripts.features.draw_controls import draw_controls, jittered
from workflow_scripts.metrics.copies import core, moves, nearer, nearest
from workflow_scripts.metrics.diversity import lpips_distances, msssim_distances
from workflow_scripts.metrics.physics import profiles
from workflow_scripts.readers.make_reader_study import make_reader_study
from workflow_scripts.readers.page import png
from workflow_scripts.report.pictures import pictures
from workflow_scripts.sampling.collect_samples import collect_samples
from workflow_scripts.sampling.draw_samples import draw_samples
from workflow_scripts.sampling.plot_denoising import plot_denoising
from workflow_scripts.trail.hashing import hash_file

CPU = torch.device("cpu")
CLASSES = list(COLOURS)
SIZE = 24
SETTINGS = {
    "backbone": "small",
    "steps": 40,
    "batch_size": 32,
    "learning_rate": 0.003,
    "weight_decay": 0.05,
}


def deeper(images: np.ndarray) -> np.ndarray:
    """Return the same images with 16 bits."""
    return images.astype(np.uint16) * 257


def ids(count: int) -> np.ndarray:
    return np.arange(count) % len(CLASSES)


def some(count: int, seed: int = 0, size: int = SIZE) -> np.ndarray:
    """Draw discs of each class in turn."""
    return discs([CLASSES[k] for k in ids(count)], np.random.default_rng(seed), size)


def store_of(images: np.ndarray, folder: Path, name: str = "part") -> ImageStore:
    np.save(folder / f"{name}.npy", images)
    rows = pd.DataFrame({"shard": name, "row": np.arange(len(images))})
    return ImageStore(rows, [folder / f"{name}.npy"])


@pytest.fixture(params=[8, 16])
def run(request, tmp_path) -> dict[str, Path]:
    """Tables and shards of 90 real images, each of a subject of its own, and of 18 synthetic ones."""
    kind = {8: lambda images: images, 16: deeper}[request.param]
    real, count = tmp_path / "images.parquet", 90
    names = np.array(CLASSES)[ids(count)]
    unknown = pd.Series([None] * count, dtype="str")
    table = pd.DataFrame(
        {
            "image_id": [f"{number:04d}" for number in range(count)],
            "patient_id": [f"s{number}" for number in range(count)],
            "class_id": ids(count),
            "class_name": names,
            "findings": names,
            "age_years": np.full(count, np.nan),
            "sex": unknown,
            "view": unknown,
            "split": np.repeat(["train", "val", "test"], count // 3),
            "shard": "real",
            "row": np.arange(count),
        }
    )
    write_table(table, real, IMAGES)
    np.save(tmp_path / "real.npy", kind(some(count)))
    number = np.arange(18)
    drawn = pd.DataFrame(
        {
            "image_id": [f"m/s/{k:03d}" for k in number],
            "shard": "drawn",
            "row": number,
            "class_id": ids(18),
            "class_name": np.array(CLASSES)[ids(18)],
            "seed": number,
        }
    )
    write_table(drawn, tmp_path / "samples.parquet", SAMPLES)
    np.save(tmp_path / "drawn.npy", kind(some(18, 1)))
    names = ("images.parquet", "real.npy", "samples.parquet", "drawn.npy")
    return {name.split(".")[0]: tmp_path / name for name in names}


# -- the classifier


def accuracy(images: np.ndarray, folder: Path) -> float:
    """Return the share of 60 images that a classifier of 120 others sees as what they are."""
    store = store_of(images, folder)
    model = train(store, ids(180), SETTINGS, 3, 1, CPU, np.arange(120))
    seen = predict(model, store, CPU, np.arange(120, 180))
    return (seen.argmax(axis=1) == ids(180)[120:]).mean()


@pytest.mark.parametrize("kind", [np.copy, deeper])
def test_the_classifier_sees_colour(kind, tmp_path):
    assert accuracy(kind(some(180)), tmp_path) == 1
    assert accuracy(grey(some(180)), tmp_path) < 0.7, "by its colour alone is a class known"


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("channels", [2, 3])
def test_a_classifier_is_kept_with_its_channels(backbone, channels, tmp_path):
    model = build(backbone, 3, channels).eval()
    save(model, tmp_path / "model.safetensors", {})
    again = load(tmp_path / "model.safetensors", CPU)
    assert again.channels == channels
    x = torch.randn(2, channels, 40, 40)
    with torch.inference_mode():
        torch.testing.assert_close(again(x), model(x), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(model(x), model(x.flip(1))), "channels are not told apart"


def test_augmentation_keeps_the_hue():
    x = torch.tensor([0.5, -0.2, 0.1]).view(1, 3, 1, 1).expand(8, 3, 16, 16)
    y = augment(x.contiguous(), np.random.default_rng(0))
    contrast = (y[:, 0] - y[:, 1]) / 0.7
    torch.testing.assert_close((y[:, 2] - y[:, 1]) / 0.3, contrast)
    assert ((contrast > 0.84) & (contrast < 1.16)).all()


# -- measures


def test_diversity_sees_colour():
    images = some(6, size=32)
    for kind in (np.copy, deeper):
        first, other = kind(images), kind(recoloured(images))
        np.testing.assert_allclose(msssim_distances(first, first), 0, atol=1e-6)
        assert (msssim_distances(first, other) > 0.005).all()
    np.testing.assert_allclose(
        msssim_distances(images, images[::-1].copy()),
        msssim_distances(deeper(images), deeper(images[::-1])),
        atol=1e-4,
    )
    plain = grey(images)
    alike = np.repeat(plain[..., None], 3, axis=3)
    np.testing.assert_allclose(
        msssim_distances(plain, plain[::-1].copy()),
        msssim_distances(alike, alike[::-1].copy()),
        rtol=1e-5,
    )


def test_lpips_is_given_colour_where_there_are_three_channels():
    def apart(a, b):
        assert a.shape == b.shape == (6, 3, SIZE, SIZE)
        return (a - b).abs().mean(dim=(1, 2, 3))

    images = some(6)
    assert (lpips_distances(apart, images, recoloured(images)) > 0.05).all()
    for channels in (2, 4):
        several = np.random.default_rng(0).integers(0, 256, (6, SIZE, SIZE, channels), np.uint8)
        found = lpips_distances(apart, several, several[::-1].copy())
        plain = grey(several)
        np.testing.assert_array_equal(found, lpips_distances(apart, plain, plain[::-1].copy()))


@pytest.mark.parametrize("kind", [np.copy, deeper])
@pytest.mark.parametrize("size", [SIZE, 64])
def test_copies_are_found_by_colour_too(kind, size):
    images = kind(some(30, size=size))
    features = core(images)
    side = size - 2 * max(1, size // 64)
    assert features.shape == (30, 3 * min(side, 32) ** 2)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)
    brighter = (images * 0.9 + np.iinfo(images.dtype).max * 0.02).astype(images.dtype)
    np.testing.assert_allclose(core(brighter), features, atol=0.01)
    # The same discs in another colour are no copies, though a grey eye takes them for such.
    other = recoloured(some(30, size=size))
    np.testing.assert_array_equal(grey(other), grey(some(30, size=size)))
    assert np.linalg.norm(core(kind(other)) - features, axis=1).min() > 0.1


@pytest.mark.parametrize("kind", [np.copy, deeper])
def test_planted_copies_are_of_their_kind_and_near_their_source(kind, tmp_path, run):
    source = kind(some(1))[0]
    copy = jittered(source, np.random.default_rng(0))
    assert (copy.shape, copy.dtype) == (source.shape, source.dtype)
    same = jittered(some(1)[0], np.random.default_rng(0)).astype(np.float64)
    scale = np.iinfo(source.dtype).max / 255
    assert np.abs(copy / scale - same).max() <= 1, "the jitter is as strong, whatever the depth"
    assert (same.max(axis=-1) - same.min(axis=-1)).max() > 100, "it has kept its colour"


def test_controls_have_the_channels_and_bits_of_the_images(run, tmp_path):
    noise, planted = tmp_path / "noise.npy", tmp_path / "planted.npy"
    draw_controls(run["images"], [run["real"]], 1, noise, planted)
    real = np.load(run["real"], mmap_mode="r")
    for path, count in ((noise, 30), (planted, 30)):
        drawn = np.load(path)
        assert (drawn.dtype, drawn.shape) == (real.dtype, (count, *real.shape[1:]))
    values = np.load(noise).ravel() / np.iinfo(real.dtype).max
    assert values.min() < 0.01 and values.max() > 0.99 and abs(values.mean() - 0.5) < 0.01
    table = read_table(tmp_path / "planted.parquet", CONTROLS)
    sources = np.load(run["real"])[table["source_image_id"].astype(int)]
    copies, there = np.load(planted), core(sources)
    near = reduce(nearer, (nearest(core(copies, *move), there) for move in moves(SIZE)))
    assert (near.position == np.arange(30)).all(), "its own source is the nearest of all"


def test_physics_measures_the_luminance_of_any_depth(run, tmp_path):
    draw_controls(run["images"], [run["real"]], 1, tmp_path / "noise.npy", tmp_path / "planted.npy")
    measure_physics(
        run["images"],
        [run["real"]],
        run["samples"],
        [run["drawn"]],
        tmp_path / "noise.npy",
        tmp_path / "noise.parquet",
        CLASSES,
        1,
        tmp_path / "metrics.parquet",
        tmp_path / "physics.png",
    )
    found = pd.read_parquet(tmp_path / "metrics.parquet").set_index(["metric", "class_name"])
    images, drawn = np.load(run["real"]), np.load(run["drawn"])
    real, own = profiles(grey(images[60:])), profiles(grey(drawn))
    # Of as many of each class as were drawn, which chance picks: about the same.
    expected = own.sharpness.mean() / real.sharpness.mean()
    assert found.loc[("sharpness_ratio", "pooled"), "value"] == pytest.approx(expected, rel=0.05)
    assert found.loc[("intensity_distance", "pooled"), "ceiling"] > 20


# -- pictures


def hues(picture: np.ndarray) -> float:
    """Return how far from grey the most colourful of a picture's pixels is."""
    return float(np.ptp(picture[..., :3].astype(int), axis=-1).max())


def test_pictures_are_in_colour(run, tmp_path):
    images = some(4)
    sheet = tile(images, 2)
    assert sheet.shape == (2 * SIZE + 2, 2 * SIZE + 2, 3)
    np.testing.assert_array_equal(sheet[SIZE + 2 :, :SIZE], images[2])
    assert (sheet[SIZE : SIZE + 2] == 255).all()
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(png(images[0])))), images[0])
    (picture,) = pictures(deeper(images[:1]))
    with Image.open(BytesIO(base64.b64decode(picture.uri.partition(",")[2]))) as seen:
        assert np.abs(np.asarray(seen).astype(int) - images[0]).mean() < 12, "as WebP has it"
    grids = [tmp_path / f"{number}.png" for number in range(3)]
    collect_samples([run["samples"]], [run["drawn"]], tmp_path / "all.parquet", grids)
    for path in grids:
        assert hues(np.asarray(Image.open(path))) > 80


@pytest.mark.parametrize(("channels", "bits"), [(1, 16), (2, 16), (3, 8)])
def test_samples_and_strips_are_of_the_model_s_kind(channels, bits, tmp_path):
    model = untrained(tmp_path / "model", channels=channels, bits=bits)
    asked = {"method": "dpm++2m", "steps": 3, "per_class": 4, "shards": 2, "seed": 1}
    sampler = DEFAULTS | asked | {"autoguidance": None, "condition": {}}
    config = {"sampler": sampler, "device": "cpu", "precision": "fp32"}
    named = {"model_name": "m", "sampler_name": "s", "class_id": 1, "class_name": "Effusion"}
    pixels = tmp_path / "effusion" / "effusion_001.npy"
    draw_samples(model, pixels, pixels.with_suffix(".parquet"), config | named | {"shard": 1})
    drawn = np.load(pixels)
    assert drawn.dtype == {8: np.uint8, 16: np.uint16}[bits]
    assert drawn.shape == (2, 16, 16) + (() if channels == 1 else (channels,))
    assert len(np.unique(drawn)) > 200
    plot_denoising(model, tmp_path / "strip.png", config | {"classes": ["Effusion", "Pneumonia"]})
    assert (hues(np.asarray(Image.open(tmp_path / "strip.png"))) > 80) == (channels == 3)


def test_readers_see_colour_and_never_two_kinds(run, tmp_path):
    def make(drawn: np.ndarray) -> str:
        np.save(run["drawn"], drawn)
        make_reader_study(
            run["images"], [run["real"]], run["samples"], [run["drawn"]],
            Path(__file__).parents[2] / "resources" / "readers",
            tmp_path / "page.html", tmp_path / "key.parquet", CLASSES, 2, 1, phantom=False,
        )  # fmt: skip
        return (tmp_path / "page.html").read_text()

    drawn = np.load(run["drawn"])
    assert "What does it show?" in make(drawn)
    with pytest.raises(InputError, match="would tell them apart"):
        make(drawn[..., 0].copy())
    with pytest.raises(InputError, match="would tell them apart"):
        make(deeper(drawn) if drawn.dtype == np.uint8 else (drawn // 257).astype(np.uint8))


# -- the trail


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3), (8, 8, 2)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_image_of_a_shard_is_hashed(shape, dtype, tmp_path):
    images = np.random.default_rng(0).integers(0, 200, (5, *shape)).astype(dtype)
    images[1] = images[1][:1, :1]  # of one colour: it shows nothing
    images[3].reshape(-1)[-1] += 1  # one that differs in its last value alone
    images[4] = images[3]
    np.save(tmp_path / "shard.npy", images)
    found = hash_file(str(tmp_path / "shard.npy"))
    assert len(found.images) == 5
    assert found.images[3] == found.images[4]
    assert len(set(found.images)) == 4
    assert found.blank == {1}
    np.save(tmp_path / "features.npy", np.zeros((5, 8), np.float32))
    assert hash_file(str(tmp_path / "features.npy")).images is None
