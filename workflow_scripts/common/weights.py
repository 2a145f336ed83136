"""Weights on disk, as safetensors: no code is in such a file."""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from workflow_scripts.common.files import whole_file


def write_weights(
    weights: Mapping[str, Tensor], path: str | Path, metadata: dict[str, str] | None = None
) -> None:
    """Write weights by name; equal ones with one entry of metadata at most are equal files."""
    # As bytes: to a path safetensors writes by way of a file of its own, which nobody else may read
    # and which stays if the process is killed.
    data = save({name: tensor.contiguous().cpu() for name, tensor in weights.items()}, metadata)
    with whole_file(path) as partial:
        partial.write_bytes(data)
