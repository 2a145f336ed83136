"""Feature spaces in which image sets are compared.

One contract for all: images are uint8 or uint16, (n, height, width) or (n, height, width, channels),
as an image store gives them; features are float32 (n, d), class probabilities float32 (n, K), with
K = 0 where an extractor names no classes. Each turns images into the size, channels and range that
its network was trained with. To add one: a class with `load` and `embed` (and `classify`, where it
names classes), and its line in EXTRACTORS.
"""

import hashlib
import tempfile
from abc import ABC, abstractmethod
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from workflow_scripts.classifier.weights import load
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.levels import bits_of, grey, perceived
from workflow_scripts.common.pixels import to_input
from workflow_scripts.common.published import PUBLISHED
from workflow_scripts.common.runtime import progress
from workflow_scripts.common.store import ImageStore
from workflow_scripts.features import dinov2

# The packages of published networks are loaded where they are used: that takes longer than PyTorch.

IMAGENET_MEAN, IMAGENET_SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Extractor(ABC):
    """A network from weights on disk (None: it has none), and how images are shown to it."""

    batch_size = 64

    def __init__(self, weights: Path | None, device: torch.device):
        self.device = device
        try:
            network = self.load(weights)
        except (InputError, OSError, MemoryError):
            raise
        except Exception as error:
            raise InputError(
                f"{weights} does not hold the weights of `{type(self).__name__}`: {error}"
            ) from error
        self.network = network.to(device).eval()

    @abstractmethod
    def load(self, weights: Path | None) -> nn.Module:
        """Return the network, on the CPU."""

    @abstractmethod
    def embed(self, images: np.ndarray) -> torch.Tensor:
        """Return features (n, d) of images of a store."""

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """Return class probabilities (n, K) of features (n, d); K = 0: no classes are named."""
        return features.new_empty(len(features), 0)

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return features, float32 (n, d), and class probabilities, float32 (n, K).

        Parameters
        ----------
        images : uint8 or uint16, (n, height, width) or (n, height, width, channels)

        Raises
        ------
        TypeError
            For any other kind or shape: images on two scales are how wrong numbers arise.
        """
        bits_of(images.dtype)
        if images.ndim not in (3, 4) or images.shape[1] != images.shape[2]:
            raise TypeError(
                "features are taken of square images (n, height, width) or (n, height, width, "
                f"channels), not of {images.shape}"
            )
        features = self.embed(images)
        return tuple(x.float().cpu().numpy() for x in (features, self.classify(features)))


class Pixels(Extractor):
    """The image itself, in [0, 1], averaged down to 32x32 areas where it is larger.

    d is at most 1024 for each channel.
    """

    side = 32

    def load(self, weights: None) -> nn.Module:
        return nn.AdaptiveAvgPool2d(self.side)

    def embed(self, images: np.ndarray) -> torch.Tensor:
        x = planes(images, self.device)
        areas = self.network(x) if x.shape[-1] > self.side else x
        return areas.flatten(1) / np.iinfo(images.dtype).max


class Domain(Extractor):
    """What the head of the classifier of the real training split sees."""

    batch_size = 256

    def load(self, weights: Path) -> nn.Module:
        return load(weights, torch.device("cpu"))

    def embed(self, images: np.ndarray) -> torch.Tensor:
        return self.network.features(to_input(images, self.device))

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        return self.network.head(features).softmax(1)


class Inception(Extractor):
    """Inception-v3 as in clean-fid (Parmar et al. 2022), with its resize; d = 2048, K = 1008.

    Images of three channels in colour, others in grey.
    """

    def load(self, weights: Path) -> nn.Module:
        # The file is a program (TorchScript), which may write files: only the known one is run.
        content, known = read(weights, "inception")
        if not known:
            raise InputError(
                f"{weights} is not the published file (SHA-256 {PUBLISHED['inception'].sha256}). "
                "TorchScript is a program, so no other is opened: fetch it from "
                f"{PUBLISHED['inception'].url}, or leave `inception` out of evaluate.extractors."
            )
        from cleanfid.inception_torchscript import InceptionV3W

        # clean-fid looks for one file name in a folder.
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "inception-2015-12-05.pt").write_bytes(content)
            network = InceptionV3W(folder, download=False, resize_inside=False)
        network.head = network.base.output
        return network

    def embed(self, images: np.ndarray) -> torch.Tensor:
        from cleanfid.resize import build_resizer

        resize = build_resizer("clean")
        resized = np.stack([resize(image) for image in coloured(images)]).transpose(0, 3, 1, 2)
        return self.network(torch.from_numpy(resized).to(self.device))

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        # Without the bias, as the published Inception Score is computed (Salimans et al. 2016).
        return F.linear(features, self.network.head.weight).softmax(1)


class ChestXray(Extractor):
    """DenseNet-121 of torchxrayvision (Cohen et al. 2022): grey, 224 px, [-1024, 1024]; d = 1024."""

    def load(self, weights: Path) -> nn.Module:
        # torchxrayvision publishes whole pickled modules. A pickle runs what code it likes, so of
        # these only the file that is known is opened.
        content, known = read(weights, "xrv")
        try:
            saved = torch.load(BytesIO(content), map_location="cpu", weights_only=not known)
        except UnpicklingError:
            raise InputError(
                f"{weights} is no state dict, and not the published file (SHA-256 "
                f"{PUBLISHED['xrv'].sha256}). A pickle of a whole model may run code and is not "
                "opened: give a state dict (torch.save(model.state_dict(), …)) or the published file."
            ) from None
        state = saved.state_dict() if isinstance(saved, nn.Module) else saved
        import torchxrayvision

        network = torchxrayvision.models.DenseNet(num_classes=len(state["classifier.bias"]))
        network.load_state_dict(state)
        return network

    def embed(self, images: np.ndarray) -> torch.Tensor:
        scaled = planes(grey(images), self.device) * (2048 / 255) - 1024
        resized = F.interpolate(scaled, (224, 224), mode="bilinear", antialias=True)
        return self.network.features2(resized)


class Dinov2(Extractor):
    """DINOv2 ViT-S/14 (Oquab et al. 2023): the class token of the whole image at 224 px; d = 384.

    Images of three channels in colour, others in grey.
    """

    def load(self, weights: Path) -> nn.Module:
        return dinov2.vision_transformer(torch.load(weights, map_location="cpu", weights_only=True))

    def embed(self, images: np.ndarray) -> torch.Tensor:
        x = planes(perceived(images), self.device) / 255
        resized = F.interpolate(x, (dinov2.SIZE,) * 2, mode="bicubic", antialias=True)
        mean, sd = (
            torch.tensor(x, device=self.device).view(3, 1, 1) for x in (IMAGENET_MEAN, IMAGENET_SD)
        )
        return self.network((resized.clamp(0, 1) - mean) / sd)


def planes(images: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return images of a store as float32 (n, channels, height, width), on the scale of their kind."""
    x = torch.from_numpy(images).to(device)
    return (x[:, None] if x.ndim == 3 else x.movedim(3, 1)).float()


def coloured(images: np.ndarray) -> np.ndarray:
    """Return images as uint8 (n, height, width, 3), grey ones with their channel three times."""
    pictures = perceived(images)
    return np.repeat(pictures[..., None], 3, axis=3) if pictures.ndim == 3 else pictures


def read(weights: Path, name: str) -> tuple[bytes, bool]:
    """Return the bytes of a file, and whether they are those published under this name."""
    content = weights.read_bytes()
    return content, hashlib.sha256(content).hexdigest() == PUBLISHED[name].sha256


EXTRACTORS: dict[str, type[Extractor]] = {
    "pixels": Pixels,
    "domain": Domain,
    "inception": Inception,
    "xrv": ChestXray,
    "dinov2": Dinov2,
}


def features_of(extractor: Extractor, store: ImageStore) -> tuple[np.ndarray, np.ndarray]:
    """Return features, float32 (len(store), d), and class probabilities, float32 (len(store), K).

    Raises
    ------
    ValueError
        If a feature or a probability is not finite.
    """
    starts = range(0, len(store), extractor.batch_size)
    batches = [
        extractor(store.gather(np.arange(start, min(start + extractor.batch_size, len(store)))))
        for start in progress(starts, "extracting features", unit="batch")
    ]
    features, classes = (np.concatenate(part) for part in zip(*batches, strict=True))
    if not (np.isfinite(features).all() and np.isfinite(classes).all()):
        raise ValueError(f"{type(extractor).__name__} gives features that are not finite")
    return features, classes
