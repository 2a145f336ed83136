"""The contract of all extractors, and each one's loading and preprocessing on weights made here."""

import os

import cleanfid.fid
import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
import torchxrayvision
from cleanfid.inception_torchscript import InceptionV3W
from cleanfid.resize import build_resizer
from shaped_weights import NAMED, WIDTH, WRITE, dinov2_state, write
from torch import nn

from tests.discs import recoloured
from workflow_scripts.classifier.network import build
from workflow_scripts.classifier.training import predict
from workflow_scripts.classifier.weights import load, save
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import sha256_of
from workflow_scripts.common.levels import grey
from workflow_scripts.common.published import PUBLISHED, Weights
from workflow_scripts.common.store import ImageStore
from workflow_scripts.features.extract_features import extract_features
from workflow_scripts.features.extractors import EXTRACTORS, features_of

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files of the right kinds and shapes, with random weights."""
    folder = tmp_path_factory.mktemp("weights")
    paths = {name: write(name, folder) for name in WRITE}
    with pytest.MonkeyPatch.context() as patch:  # no other file of this kind is opened
        known = Weights("https://a/inception.pt", sha256_of(paths["inception"]))
        patch.setitem(PUBLISHED, "inception", known)
        yield paths


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64), dtype=np.uint8)


@pytest.fixture(scope="module")
def extractors(weights):
    return {name: kind(weights.get(name), CPU) for name, kind in EXTRACTORS.items()}


def store_of(images, folder, rows):
    """Return a store of these rows of a shard that holds `images`."""
    np.save(folder / "part.npy", images)
    return ImageStore(pd.DataFrame({"shard": "part", "row": rows}), [folder / "part.npy"])


@pytest.mark.parametrize("name", EXTRACTORS)
def test_contract(name, extractors, images):
    extractor = extractors[name]
    features, classes = extractor(images)
    assert features.shape == (3, WIDTH[name])
    assert classes.shape == (3, NAMED[name])
    assert features.dtype == classes.dtype == np.float32
    assert len(np.unique(features, axis=0)) == 3
    if NAMED[name]:
        assert classes.min() >= 0
        np.testing.assert_allclose(classes.sum(1), 1, rtol=1e-5)
        assert len(np.unique(classes, axis=0)) == 3
    for first, again in zip((features, classes), extractor(images), strict=True):
        np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("name", EXTRACTORS)
def test_images_on_another_scale_or_of_another_shape_are_refused(name, extractors, images):
    for wrong in (images / 255, images.astype(np.float32)):
        with pytest.raises(TypeError, match="of uint8 or uint16, got float"):
            extractors[name](wrong)
    for wrong in (images[:, None], images[0], images[..., None, None]):
        with pytest.raises(TypeError, match=r"square images \(n, height, width\)"):
            extractors[name](wrong)


@pytest.mark.parametrize("name", EXTRACTORS)
def test_features_do_not_depend_on_the_batch(name, extractors, images, tmp_path):
    store = store_of(images, tmp_path, [2, 0, 1])
    extractor = extractors[name]
    together = extractor(store.all())
    try:
        extractor.batch_size = 2
        for part, whole in zip(features_of(extractor, store), together, strict=True):
            np.testing.assert_allclose(part, whole, rtol=1e-4, atol=1e-5)
    finally:
        del extractor.batch_size


def test_pixels_are_means_of_areas(extractors):
    image = np.zeros((1, 64, 64), dtype=np.uint8)
    image[0, :2, :2] = [[10, 20], [30, 41]]
    image[0, 62:, 62:] = 255
    features, _ = extractors["pixels"](image)
    expected = np.zeros((32, 32), dtype=np.float32)
    expected[0, 0] = np.float32(25.25) / 255
    expected[31, 31] = 1
    np.testing.assert_array_equal(features, expected.reshape(1, 1024))


def test_pixels_of_a_small_image_are_kept(extractors):
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    features, _ = extractors["pixels"](image)
    np.testing.assert_array_equal(features, image.reshape(1, 256) / np.float32(255))


def test_domain_gives_what_the_classifier_sees(weights, extractors, images, tmp_path):
    model = load(weights["domain"], CPU)
    store = store_of(images, tmp_path, [0, 1, 2])
    features, classes = extractors["domain"](images)
    np.testing.assert_array_equal(classes, predict(model, store, CPU))
    with torch.inference_mode():
        logits = model.head(torch.from_numpy(features))
        x = torch.from_numpy(images)[:, None].float() / 127.5 - 1
        torch.testing.assert_close(logits, model(x))


def test_inception_is_clean_fids(weights, extractors, images, tmp_path):
    """Their resize, their scaling, their network wrapper, on colour images of equal channels."""
    (tmp_path / "inception-2015-12-05.pt").symlink_to(weights["inception"])
    network = InceptionV3W(str(tmp_path), download=False)
    resize = build_resizer("clean")
    batch = torch.stack(
        [
            torch.from_numpy(resize(np.stack([image] * 3, axis=2))).permute(2, 0, 1)
            for image in images
        ]
    )
    assert 0 <= float(batch.min()) < 20
    assert 235 < float(batch.max()) <= 255
    expected = cleanfid.fid.get_batch_features(batch, network, CPU)
    np.testing.assert_allclose(extractors["inception"](images)[0], expected, rtol=1e-6)


def test_inception_names_classes_by_its_own_output_without_bias(weights, extractors, images):
    matrix = torch.jit.load(weights["inception"]).output.weight.detach().numpy().astype(np.float64)
    features, classes = extractors["inception"](images)
    powers = np.exp(features @ matrix.T)
    np.testing.assert_allclose(classes, powers / powers.sum(1, keepdims=True), rtol=1e-4)


class Program(nn.Module):
    """Writes a file when TorchScript loads it."""

    mark: str

    def __init__(self, mark):
        super().__init__()
        self.mark = str(mark)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    @torch.jit.export
    def __getstate__(self):
        return (self.mark, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]):
        self.mark = state[0]
        self.training = state[1]
        torch.save(torch.zeros(1), self.mark)


def test_no_inception_but_the_published_is_run(tmp_path):
    path, mark = tmp_path / "program.pt", tmp_path / "mark"
    torch.jit.script(Program(mark)).save(str(path))
    mark.unlink(missing_ok=True)
    torch.jit.load(path)
    assert mark.exists()
    mark.unlink()
    with pytest.raises(InputError, match=r"program\.pt is not the published file"):
        EXTRACTORS["inception"](path, CPU)
    assert not mark.exists()


def test_xrv_sees_its_own_range_and_size(extractors, monkeypatch):
    extractor = extractors["xrv"]
    shown = []
    monkeypatch.setattr(
        extractor.network, "features2", lambda x: shown.append(x) or torch.zeros(len(x), 4)
    )
    ramp = np.tile(np.arange(256, dtype=np.uint8)[:224], (1, 224, 1))
    extractor(ramp)
    expected = torchxrayvision.utils.normalize(ramp.astype(np.float32), 255)
    np.testing.assert_allclose(shown[0].numpy()[:, 0], expected, atol=1e-3)
    extractor(np.array([[[0, 0], [255, 255]]], dtype=np.uint8).repeat(40, 1).repeat(40, 2))
    assert shown[1].shape == (1, 1, 224, 224)
    assert (float(shown[1].min()), float(shown[1].max())) == pytest.approx((-1024, 1024), abs=1e-3)


def dinov2_reference(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """DINOv2's forward pass written out: normalised (n, 3, 224, 224) to class tokens, float64."""
    state = {name: value.double() for name, value in state.items()}

    def linear(y, name):
        return y @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(y, name):
        centred = y - y.mean(-1, keepdim=True)
        scaled = centred / (y.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    patches = x.double().unfold(2, 14, 14).unfold(3, 14, 14)  # n, channel, row, column, y, x
    kernel = state["patch_embed.proj.weight"]
    tokens = torch.einsum("ncijyx,dcyx->nijd", patches, kernel).flatten(1, 2)
    tokens = tokens + state["patch_embed.proj.bias"]
    places = state["pos_embed"][:, 1:].reshape(1, 37, 37, 384).permute(0, 3, 1, 2)
    places = F.interpolate(places, scale_factor=(16.1 / 37, 16.1 / 37), mode="bicubic")
    tokens = tokens + places.permute(0, 2, 3, 1).reshape(1, 256, 384)
    token = state["cls_token"] + state["pos_embed"][:, :1]
    y = torch.cat([token.expand(len(x), 1, 384), tokens], 1)
    for block in (f"blocks.{number}" for number in range(12)):
        parts = linear(norm(y, f"{block}.norm1"), f"{block}.attn.qkv")
        q, k, v = parts.reshape(len(x), 257, 3, 6, 64).permute(2, 0, 3, 1, 4)
        mixed = (q @ k.transpose(-1, -2) / 8).softmax(-1) @ v
        mixed = mixed.transpose(1, 2).reshape(len(x), 257, 384)
        y = y + state[f"{block}.ls1.gamma"] * linear(mixed, f"{block}.attn.proj")
        hidden = F.gelu(linear(norm(y, f"{block}.norm2"), f"{block}.mlp.fc1"))
        y = y + state[f"{block}.ls2.gamma"] * linear(hidden, f"{block}.mlp.fc2")
    return norm(y, "norm")[:, 0]


def test_dinov2_is_the_published_forward_pass(weights, tmp_path):
    state = torch.load(weights["dinov2"])
    # Large enough that every part of the network tells in what comes out.
    state = {name: value if "norm" in name else 4 * value for name, value in state.items()}
    torch.save(state, tmp_path / "larger.pt")
    films = np.random.default_rng(1).integers(0, 256, (2, 224, 224), dtype=np.uint8)
    mean, sd = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, :, None, None]
    x = (torch.from_numpy(films)[:, None] / 255 - mean) / sd
    features, _ = EXTRACTORS["dinov2"](tmp_path / "larger.pt", CPU)(films)
    expected = dinov2_reference(state, x).numpy()
    np.testing.assert_allclose(features, expected, atol=1e-4 * expected.std())


def test_dinov2_sees_its_own_range_and_size(extractors, monkeypatch):
    shown = []
    monkeypatch.setattr(
        extractors["dinov2"], "network", lambda x: shown.append(x) or torch.zeros(len(x), 4)
    )
    extractors["dinov2"](np.array([[[0, 0], [255, 255]]], np.uint8).repeat(40, 1).repeat(40, 2))
    assert shown[0].shape == (1, 3, 224, 224)
    low, high = shown[0].amin((0, 2, 3)), shown[0].amax((0, 2, 3))
    np.testing.assert_allclose(low, [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], rtol=1e-5)
    np.testing.assert_allclose(high, [0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225], rtol=1e-5)


@pytest.mark.parametrize("fault", ["registers", "missing", "larger"])
def test_weights_of_another_dinov2_are_refused(fault, tmp_path):
    state = dinov2_state()
    if fault == "registers":
        state["register_tokens"] = torch.zeros(1, 4, 384)
    elif fault == "missing":
        del state["blocks.7.attn.proj.bias"]
    else:
        state["norm.weight"] = torch.zeros(768)
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"other\.pt does not hold"):
        EXTRACTORS["dinov2"](tmp_path / "other.pt", CPU)


class Hostile:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_only_the_published_pickle_of_a_whole_model_is_opened(
    weights, extractors, images, tmp_path, monkeypatch
):
    module = torchxrayvision.models.DenseNet(num_classes=18)
    module.load_state_dict(torch.load(weights["xrv"]))
    torch.save(module, tmp_path / "model.pt")
    torch.save(Hostile(tmp_path / "mark"), tmp_path / "hostile.pt")
    for name in ("model.pt", "hostile.pt"):
        with pytest.raises(InputError, match=rf"{name} is no state dict.* the published file"):
            EXTRACTORS["xrv"](tmp_path / name, CPU)
    with pytest.raises(InputError, match=r"hostile\.pt does not hold"):
        EXTRACTORS["dinov2"](tmp_path / "hostile.pt", CPU)
    assert not (tmp_path / "mark").exists()
    published = Weights("https://a/model.pt", sha256_of(tmp_path / "model.pt"))
    monkeypatch.setitem(PUBLISHED, "xrv", published)
    again = EXTRACTORS["xrv"](tmp_path / "model.pt", CPU)
    np.testing.assert_array_equal(again(images)[0], extractors["xrv"](images)[0])


@pytest.mark.parametrize("name", WRITE)
def test_a_file_of_another_kind_is_named(name, tmp_path):
    (tmp_path / "page.html").write_text("<html>not found</html>")
    with pytest.raises(InputError, match=r"page\.html"):
        EXTRACTORS[name](tmp_path / "page.html", CPU)


@pytest.mark.parametrize("name", ["pixels", "domain"])
def test_step_writes_one_row_per_image_in_order(
    name, weights, extractors, images, tmp_path, monkeypatch
):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    np.save(tmp_path / "a.npy", images[:2])
    np.save(tmp_path / "b.npy", images[2:])
    index = pd.DataFrame({"shard": ["b", "a", "a"], "row": [0, 1, 0], "image_id": ["x", "y", "z"]})
    index.to_parquet(tmp_path / "index.parquet")
    shards = [tmp_path / "a.npy", tmp_path / "b.npy"]
    outputs = [
        (tmp_path / run / "real.npy", tmp_path / run / "real.classes.npy") for run in ("1", "2")
    ]
    for paths in outputs:
        extract_features(name, weights.get(name), tmp_path / "index.parquet", shards, "cpu", *paths)
    for path, again, expected in zip(*outputs, extractors[name](images[[2, 1, 0]]), strict=True):
        written = np.load(path)
        assert written.dtype == np.float32
        np.testing.assert_allclose(written, expected, atol=1e-6)
        assert path.read_bytes() == again.read_bytes()
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("part", ["embed", "classify"])
def test_what_is_not_finite_stops_the_step(part, extractors, images, tmp_path, monkeypatch):
    extractor = extractors["domain"]
    wrong = torch.full((1, WIDTH["domain"]), torch.nan)
    monkeypatch.setattr(extractor, part, lambda x: wrong)
    with pytest.raises(ValueError, match="not finite"):
        features_of(extractor, store_of(images, tmp_path, [0]))


# -- colour and depth


@pytest.fixture(scope="module")
def colour():
    return np.random.default_rng(1).integers(60, 240, (3, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def of_colour(extractors, tmp_path_factory):
    """The extractors for images of three channels: the domain's network takes as many."""
    path = tmp_path_factory.mktemp("domain") / "domain.safetensors"
    save(build("small", 6, channels=3), path, {})
    return extractors | {"domain": EXTRACTORS["domain"](path, CPU)}


@pytest.mark.parametrize("name", EXTRACTORS)
def test_what_sees_colour_sees_channels_swapped_and_colours_of_one_luminance(
    name, of_colour, colour
):
    extractor = of_colour[name]
    features, _ = extractor(colour)
    assert features.shape == (3, WIDTH[name] * (3 if name == "pixels" else 1))

    def seen(images):
        return (np.abs(extractor(images)[0] - features).max(axis=1) > 1e-3 * features.std()).all()

    assert seen(np.ascontiguousarray(colour[..., ::-1]))
    if name == "xrv":  # a network of grey images: of luminance
        np.testing.assert_array_equal(features, extractor(grey(colour))[0])
        assert not seen(recoloured(colour))
    else:
        assert seen(recoloured(colour))


@pytest.mark.parametrize("name", ["inception", "dinov2", "xrv"])
def test_three_equal_channels_are_grey(name, extractors, images):
    thrice = np.repeat(images[..., None], 3, axis=3)
    for found, expected in zip(extractors[name](thrice), extractors[name](images), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", EXTRACTORS)
def test_sixteen_bits_are_on_the_scale_of_eight(name, of_colour, colour, extractors, images):
    for extractor, eight in ((of_colour[name], colour), (extractors[name], images)):
        sixteen = eight.astype(np.uint16) * 257
        for found, expected in zip(extractor(sixteen), extractor(eight), strict=True):
            # Luminance is rounded to whole levels of either depth.
            atol = 1e-3 * expected.std() if expected.size else 0
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=atol)


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("name", ["pixels", "inception", "xrv", "dinov2"])
def test_of_any_number_of_channels_each_is_seen(name, channels, extractors, colour):
    images = np.concatenate([colour, colour[..., ::-1]], axis=3)[..., :channels].copy()
    features, _ = extractors[name](images)
    assert len(features) == 3 and np.isfinite(features).all()
    for channel in range(channels):
        changed = images.copy()
        changed[..., channel] = 255 - changed[..., channel]
        assert (np.abs(extractors[name](changed)[0] - features).max(axis=1) > 1e-3).all()


def test_pixels_of_colour_are_those_of_each_channel(extractors, colour):
    features, _ = extractors["pixels"](colour)
    each = [extractors["pixels"](np.ascontiguousarray(colour[..., k]))[0] for k in range(3)]
    np.testing.assert_allclose(features, np.concatenate(each, axis=1), rtol=1e-6)
