"""The state of an unfinished training: its own, whole, and good to go on from after any end."""

import ast
import errno
import random
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import small_training
import torch
from small_training import CLASSES, MODEL, outputs, run, write_images

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import full_disk_named
from workflow_scripts.training.checkpoint import Checkpoint, checkpoints_of, clear
from workflow_scripts.training.train_diffusion import run_key

REFUSED = r"{}\.pt {}.*Remove the file to start this training again"


def test_a_training_killed_at_three_random_steps_ends_in_the_same_bytes(root, tmp_path):
    images, (shard,) = write_images(tmp_path)
    # A state is saved every 3 steps, so each of these is reached anew.
    steps = sorted(random.Random(14).sample(range(1, 20), 3))
    killed = subprocess.run(
        [sys.executable, small_training.__file__, tmp_path / "killed", images, shard]
        + [str(step) for step in steps],
        env={"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == 0, killed.stderr
    (state,) = (tmp_path / "killed" / "checkpoints").glob("*.pt")
    assert torch.load(state, weights_only=True)["step"] == (steps[-1]) // 3 * 3
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name in ("killed", "whole"):
        run(tmp_path / name, images, [shard])
    torch.set_num_threads(threads)
    killed, whole = (outputs(tmp_path / name) for name in ("killed", "whole"))
    assert list(whole) == [
        "ema/early.safetensors",
        "ema/long.safetensors",
        "ema/short.safetensors",
        "model.json",
        "progress.png",
        "training_log.parquet",
    ]
    assert killed == whole


def test_a_state_comes_back_as_it_was(tmp_path):
    state = {"step": 3, "rows": [{"loss": 0.5}], "network": {"w": torch.arange(3.0)}, "none": None}
    Checkpoint(tmp_path, "key").save(state)
    back = Checkpoint(tmp_path, "key").load()
    assert torch.equal(back.pop("network")["w"], state.pop("network")["w"])
    assert back == state | {"key": "key"}


def test_no_file_is_no_state_and_another_key_is_another_file(tmp_path):
    Checkpoint(tmp_path, "one").save({"step": 3})
    assert Checkpoint(tmp_path, "two").load() is None
    assert Checkpoint(tmp_path / "nowhere", "one").load() is None


def test_the_state_of_another_training_is_refused(tmp_path):
    Checkpoint(tmp_path, "one").save({"step": 3})
    (tmp_path / "one.pt").rename(tmp_path / "two.pt")
    message = REFUSED.format("two", r"holds the state of another training \(one\)")
    with pytest.raises(InputError, match=message):
        Checkpoint(tmp_path, "two").load()


@pytest.mark.parametrize("kept", [0, 1, 0.5, 0.99])
def test_a_damaged_state_is_refused(tmp_path, kept):
    checkpoint = Checkpoint(tmp_path, "key")
    checkpoint.save({"step": 3, "network": {"w": torch.randn(1000)}})
    whole = checkpoint.path.read_bytes()
    size = kept if kept == 1 else int(kept * len(whole))
    checkpoint.path.write_bytes(whole[:size])
    with pytest.raises(InputError, match=REFUSED.format("key", "cannot be read")):
        checkpoint.load()


@pytest.mark.parametrize("content", [torch.zeros(3), {"step": 3}, [1, 2]])
def test_a_foreign_file_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "key.pt")
    with pytest.raises(InputError, match=REFUSED.format("key", "is no state of a training")):
        Checkpoint(tmp_path, "key").load()


def test_a_full_disk_is_an_error_of_the_system_that_names_the_file(tmp_path, monkeypatch):
    @contextmanager
    def full(path):
        with full_disk_named(path):
            yield Path("/dev/full")

    monkeypatch.setattr("workflow_scripts.training.checkpoint.whole_file", full)
    checkpoint = Checkpoint(tmp_path, "key")
    with pytest.raises(OSError, match="No space left") as error:
        checkpoint.save({"network": {"w": torch.randn(100_000)}})
    assert (error.value.errno, error.value.filename) == (errno.ENOSPC, str(checkpoint.path))


class Harmful:
    """What runs code when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_no_code_in_a_file_is_run(tmp_path):
    torch.save({"key": "key", "step": Harmful(tmp_path / "run")}, tmp_path / "key.pt")
    with pytest.raises(InputError, match=REFUSED.format("key", "cannot be read")):
        Checkpoint(tmp_path, "key").load()
    assert not (tmp_path / "run").exists()


def test_what_finished_abandoned_and_killed_trainings_left_is_cleared(tmp_path):
    checkpoint = Checkpoint(tmp_path, "key")
    checkpoint.save({"step": 3})
    folder = checkpoints_of(tmp_path / "model.json")
    folder.mkdir()
    (folder / "other.pt").touch()
    (folder / ".key.1234.partial.pt").touch()
    clear(tmp_path / "model.json")
    assert list(folder.iterdir()) == []


def test_no_step_deletes_the_state_of_a_training_before_it_is_over(root):
    """Within the step the record and the entry in the cache are not yet written."""
    clearing = []
    for path in (root / "workflow_scripts").glob("*/*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        within = {
            id(call)
            for block in ast.walk(tree)
            if isinstance(block, ast.With) and ast.unparse(block.items[0]).startswith("step(")
            for call in ast.walk(block)
        }
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "clear":
                clearing.append(path.stem)
                assert id(call) not in within, path.stem
    assert sorted(clearing) == [
        "choose_average", "choose_superresolution", "train_denoiser", "train_simplex"
    ]  # fmt: skip


def test_a_refused_state_stops_the_step_before_it_computes(tmp_path):
    images, shards = write_images(tmp_path)
    config = {"model": MODEL, "classes": CLASSES, "precision": "fp32"}
    key = run_key(config, "code", [images, *shards])
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / f"{key}.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match=REFUSED.format(key, "cannot be read")):
        run(tmp_path, images, shards)
    assert not (tmp_path / "model.json").exists()


def test_the_key_of_a_run_changes_with_configuration_code_and_data_but_not_with_resources(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    key = run_key({"steps": 1}, "code", [one])
    other = [
        run_key({"steps": 2}, "code", [one]),
        run_key({"steps": 1}, "other", [one]),
        run_key({"steps": 1}, "code", [two]),
    ]
    assert len({key, *other}) == 4
    given = {"device": "cuda", "processes": 4, "checkpoint_minutes": 1, "checkpoint_steps": 5}
    assert run_key({"steps": 1} | given, "code", [one]) == key
