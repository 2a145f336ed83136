"""Checkpoints of a training run: where it stands, and whether they are its own."""

from pathlib import Path

import torch

from workflow_scripts.common.files import whole_file


class Checkpoint:
    """The latest state of one training run, in one file.

    Parameters
    ----------
    folder : stands outside declared outputs, since Snakemake deletes those of a failed job
    key : a hash of everything that the run depends on; another configuration, other code or
        other data have another key, and never resume these weights
    """

    def __init__(self, folder: str | Path, key: str):
        self.path = Path(folder) / f"{key}.pt"
        self.key = key

    def save(self, state: dict) -> None:
        """Write `state` (tensors, numbers, strings, lists, dicts) in place of the previous one."""
        with whole_file(self.path) as partial:
            torch.save({"key": self.key, **state}, partial)

    def load(self) -> dict | None:
        """Return the saved state on the CPU, or None where there is none.

        A file that cannot be read, or that carries another key, counts as none: training starts
        again rather than from something doubtful. No code in the file is ever run.
        """
        if not self.path.is_file():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception:
            return None
        return state if state.get("key") == self.key else None

    def clear(self) -> None:
        """Delete this state and those of abandoned configurations once the run has finished."""
        for path in self.path.parent.glob("*.pt"):
            path.unlink()
