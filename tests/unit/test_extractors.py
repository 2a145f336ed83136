"""The contract of all extractors, and each one's loading and preprocessing on weights made here."""

import os

import cleanfid.fid
import numpy as np
import pandas as pd
import pytest
import torch
import torchxrayvision
from cleanfid.inception_torchscript import InceptionV3W
from cleanfid.resize import build_resizer
from torch import nn

from workflow_scripts.classifier.network import build
from workflow_scripts.classifier.weights import save
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import sha256_of
from workflow_scripts.common.store import ImageStore
from workflow_scripts.evaluate.extract_features import extract_features
from workflow_scripts.evaluate.extractors import EXTRACTORS, features_of
from workflow_scripts.evaluate.published import PUBLISHED, Weights

CPU = torch.device("cpu")
WIDTH = {"domain": 256, "inception": 2048, "xrv": 1024}


class Layers(nn.Module):
    """In the place of Inception's layers: (n, 3, 299, 299) to 2048 numbers that tell images apart."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(3 * 13 * 13, 2048)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mix(x[:, :, ::23, ::23].reshape(x.shape[0], -1))


class Base(nn.Module):
    """Like the published TorchScript file, of which clean-fid uses `layers`."""

    def __init__(self):
        super().__init__()
        self.layers = Layers()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files of the right kinds and shapes, with random weights."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    save(build("small", 6), folder / "domain.safetensors", {})
    torch.jit.script(Base()).save(str(folder / "inception.pt"))
    torch.save(torchxrayvision.models.DenseNet(num_classes=18).state_dict(), folder / "xrv.pt")
    return {
        "domain": folder / "domain.safetensors",
        "inception": folder / "inception.pt",
        "xrv": folder / "xrv.pt",
    }


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64), dtype=np.uint8)


@pytest.fixture(scope="module")
def extractors(weights):
    return {name: kind(weights[name], CPU) for name, kind in EXTRACTORS.items()}


@pytest.mark.parametrize("name", EXTRACTORS)
def test_contract(name, extractors, images):
    extractor = extractors[name]
    features = extractor(images)
    assert features.shape == (3, WIDTH[name])
    assert features.dtype == np.float32
    assert len(np.unique(features, axis=0)) == 3
    np.testing.assert_array_equal(features, extractor(images))
    for wrong in (images / 255, images.astype(np.float32), images[:, None], images[0]):
        with pytest.raises(TypeError, match="uint8"):
            extractor(wrong)


@pytest.mark.parametrize("name", EXTRACTORS)
def test_features_do_not_depend_on_the_batch(name, extractors, images, tmp_path):
    np.save(tmp_path / "part.npy", images)
    index = pd.DataFrame({"shard": "part", "row": [2, 0, 1]})
    store = ImageStore(index, [tmp_path / "part.npy"])
    extractor = extractors[name]
    together = extractor(store.all())
    try:
        extractor.batch_size = 2
        np.testing.assert_allclose(features_of(extractor, store), together, rtol=1e-4, atol=1e-5)
    finally:
        del extractor.batch_size


def test_domain_features_are_what_the_head_sees(weights, extractors, images):
    from workflow_scripts.classifier.weights import load

    model = load(weights["domain"], CPU)
    x = torch.from_numpy(images)[:, None].float() / 127.5 - 1
    with torch.inference_mode():
        logits = model.head(torch.from_numpy(extractors["domain"](images)))
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
    np.testing.assert_allclose(extractors["inception"](images), expected, rtol=1e-6)


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
    assert not (tmp_path / "mark").exists()
    published = Weights("https://a/model.pt", sha256_of(tmp_path / "model.pt"))
    monkeypatch.setitem(PUBLISHED, "xrv", published)
    again = EXTRACTORS["xrv"](tmp_path / "model.pt", CPU)
    np.testing.assert_array_equal(again(images), extractors["xrv"](images))


@pytest.mark.parametrize("name", EXTRACTORS)
def test_a_file_of_another_kind_is_named(name, tmp_path):
    (tmp_path / "page.html").write_text("<html>not found</html>")
    with pytest.raises(InputError, match=r"page\.html"):
        EXTRACTORS[name](tmp_path / "page.html", CPU)


def test_step_writes_one_row_per_image_in_order(weights, extractors, images, tmp_path):
    np.save(tmp_path / "a.npy", images[:2])
    np.save(tmp_path / "b.npy", images[2:])
    index = pd.DataFrame({"shard": ["b", "a", "a"], "row": [0, 1, 0], "image_id": ["x", "y", "z"]})
    index.to_parquet(tmp_path / "index.parquet")
    shards = [tmp_path / "a.npy", tmp_path / "b.npy"]
    arguments = (weights["domain"], tmp_path / "index.parquet", shards, "cpu")
    for run in ("first", "second"):
        extract_features("domain", *arguments, tmp_path / f"{run}.npy")
    features = np.load(tmp_path / "first.npy")
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, extractors["domain"](images[[2, 1, 0]]), atol=1e-6)
    assert (tmp_path / "first.npy").read_bytes() == (tmp_path / "second.npy").read_bytes()


def test_features_that_are_not_finite_stop_the_step(extractors, images, tmp_path, monkeypatch):
    np.save(tmp_path / "part.npy", images)
    store = ImageStore(pd.DataFrame({"shard": "part", "row": [0]}), [tmp_path / "part.npy"])
    extractor = extractors["domain"]
    monkeypatch.setattr(extractor, "embed", lambda x: torch.full((len(x), 2), torch.nan))
    with pytest.raises(ValueError, match="not finite"):
        features_of(extractor, store)
