"""Weights files of the published kinds and shapes, with random numbers in them."""

from collections.abc import Callable
from pathlib import Path

import torch
import torchxrayvision
from torch import nn

from workflow_scripts.classifier.network import build
from workflow_scripts.classifier.weights import save

CLASSES = 6
# What each extractor gives: features, and class probabilities.
WIDTH = {"pixels": 1024, "domain": 256, "inception": 2048, "xrv": 1024, "dinov2": 384}
NAMED = {"pixels": 0, "domain": CLASSES, "inception": 1008, "xrv": 0, "dinov2": 0}


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
        self.output = nn.Linear(2048, NAMED["inception"])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output(self.layers(x))


def dinov2_state() -> dict[str, torch.Tensor]:
    """Return random entries with the names and shapes of `dinov2_vits14_pretrain.pth`."""
    width = WIDTH["dinov2"]
    shapes = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + 37 * 37, width),
        "mask_token": (1, width),
        "patch_embed.proj.weight": (width, 3, 14, 14),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    for block in (f"blocks.{number}" for number in range(12)):
        for norm in ("norm1", "norm2"):
            shapes |= {f"{block}.{norm}.weight": (width,), f"{block}.{norm}.bias": (width,)}
        for layer, outputs, inputs in [
            ("attn.qkv", 3 * width, width),
            ("attn.proj", width, width),
            ("mlp.fc1", 4 * width, width),
            ("mlp.fc2", width, 4 * width),
        ]:
            shapes[f"{block}.{layer}.weight"] = (outputs, inputs)
            shapes[f"{block}.{layer}.bias"] = (outputs,)
        shapes |= {f"{block}.{scale}.gamma": (width,) for scale in ("ls1", "ls2")}
    return {name: 0.05 * torch.randn(shape) for name, shape in shapes.items()}


WRITE: dict[str, Callable[[Path], None]] = {
    "domain": lambda path: save(build("small", CLASSES), path, {}),
    "inception": lambda path: torch.jit.script(Base()).save(str(path)),
    "xrv": lambda path: torch.save(
        torchxrayvision.models.DenseNet(num_classes=18).state_dict(), path
    ),
    "dinov2": lambda path: torch.save(dinov2_state(), path),
}


def write(name: str, folder: Path) -> Path:
    """Write the file that the extractor `name` loads, the same at every call, and return it."""
    path = folder / f"{name}.pt"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        WRITE[name](path)
    return path
