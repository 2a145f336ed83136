"""A classifier on disk: safetensors whose metadata says what to build."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from workflow_scripts.classifier.network import Classifier, build
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.weights import write_weights

KEY = "classifier"


def save(model: Classifier, path: str | Path, metadata: dict[str, str]) -> None:
    """Write weights, and beside `metadata` the backbone and the numbers of classes and channels."""
    built = {"backbone": model.backbone, "classes": model.classes, "channels": model.channels}
    described = {key: str(value) for key, value in built.items()} | metadata
    # One entry: safetensors writes several in a random order, and equal weights must be equal files.
    write_weights(model.state_dict(), path, {KEY: json.dumps(described, sort_keys=True)})


def load(path: str | Path, device: torch.device) -> Classifier:
    """Return the classifier that `save` wrote, in evaluation mode on `device`."""
    described = read_metadata(path)
    model = build(described["backbone"], *(int(described[key]) for key in ("classes", "channels")))
    model.load_state_dict(load_file(path))
    return model.to(device, memory_format=torch.channels_last).eval()


def read_metadata(path: str | Path) -> dict[str, str]:
    """Return backbone, classes, channels, and what else was recorded with the weights."""
    try:
        with safe_open(path, framework="pt") as stream:
            text = (stream.metadata() or {}).get(KEY)
    except SafetensorError:
        text = None
    if text is None:
        raise InputError(f"{path} holds no classifier of this workflow; delete it and run again.")
    return json.loads(text)
