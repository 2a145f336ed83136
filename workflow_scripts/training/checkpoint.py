"""Checkpoints of a training run: where it stands, when to write that down, and whether it is its own."""

import math
import time
from pathlib import Path

import torch

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import whole_file


class Checkpoint:
    """The latest state of one training run, in one file.

    Parameters
    ----------
    folder : stands outside declared outputs, since Snakemake deletes those of a failed job
    key : a hash of everything that the run depends on and the file's name; another configuration,
        other code or other data have another key, and never meet these weights
    minutes : save this long after the last time; infinite: not
    steps : save after every so many steps as well; None: not
    """

    def __init__(
        self, folder: str | Path, key: str, minutes: float = math.inf, steps: int | None = None
    ):
        self.path = Path(folder) / f"{key}.pt"
        self.key = key
        self.minutes = minutes
        self.steps = steps
        self.saved_at = time.monotonic()

    @property
    def overdue(self) -> bool:
        """Whether the last state is older than `minutes`."""
        return time.monotonic() - self.saved_at > 60 * self.minutes

    def falls_on(self, step: int) -> bool:
        """Whether the state after `step` is one of every `steps`."""
        return bool(self.steps) and step % self.steps == 0

    def save(self, state: dict) -> None:
        """Write `state` (tensors, numbers, strings, lists, dicts) in place of the previous one."""
        # A stream: what torch writes to a path it writes itself, and does not say that a disk is full.
        with whole_file(self.path) as partial, partial.open("wb") as stream:
            torch.save({"key": self.key, **state}, stream)
        self.saved_at = time.monotonic()

    def load(self) -> dict | None:
        """Return the saved state on the CPU, or None where there is none.

        No code in the file is ever run.

        Raises
        ------
        InputError
            If the file cannot be read or is not a state of this very run: nobody's work is thrown
            away, and nothing doubtful is gone on from, without a person's saying so.
        """
        if not self.path.is_file():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise self.refusal(f"cannot be read ({first_line(error)})") from None
        if not isinstance(state, dict) or "key" not in state:
            raise self.refusal("is no state of a training")
        if state["key"] != self.key:
            raise self.refusal(
                f"holds the state of another training ({state['key']}): of another configuration, "
                "other code or other images"
            )
        return state

    def refusal(self, reason: str) -> InputError:
        """Return the error that names the file, what is wrong with it, and what to do."""
        return InputError(
            f"the checkpoint {self.path} {reason}, so training cannot go on from it. Remove the "
            "file to start this training again."
        )


def checkpoints_of(model: str | Path) -> Path:
    """Return the folder for the state of a training, given the model.json that it writes."""
    return Path(model).parent / "checkpoints"


def clear(model: str | Path) -> None:
    """Delete the state of a model's training, and those of abandoned configurations.

    Only when the step is over: a run that is killed before that goes on from there.
    """
    for path in checkpoints_of(model).glob("*.pt"):
        path.unlink()


def first_line(error: Exception) -> str:
    """Return the start of an error's message, or its name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
