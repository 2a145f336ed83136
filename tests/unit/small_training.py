"""The smallest training there is: 30 films of 16² pixels, a network of 40,000 weights."""

import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import IMAGES
from workflow_scripts.common.tables import write_table
from workflow_scripts.diffusion.conditions import Conditions
from workflow_scripts.diffusion.network import build_network
from workflow_scripts.diffusion.process import make_process
from workflow_scripts.training import loop
from workflow_scripts.training.batches import Batches, read_split
from workflow_scripts.training.checkpoint import Checkpoint
from workflow_scripts.training.ema import PowerAverage, exponent
from workflow_scripts.training.parallel import make_fabric
from workflow_scripts.training.train_diffusion import AVERAGE_NAMES, train_diffusion
from workflow_scripts.training.worker import train_model

CLASSES = ["No Finding", "Effusion", "Pneumonia"]
VALUES = {"finding": CLASSES, "sex": ["F", "M"]}
NETWORK = {
    "patch_size": 2,
    "channels": [8, 16],
    "layers_per_block": 1,
    "attention_levels": [],
    "dropout": 0.1,
}
DIFFUSION = {
    "process": "ddpm",
    "loss": "l2",
    "timesteps": 1000,
    "schedule": "cosine",
    "betas": None,
    "zero_terminal_snr": True,
    "resolution_shift": False,
    "prediction": "v",
    "weighting": "min_snr",
    "min_snr_gamma": 5,
}
TRAINING = {
    "steps": 20,
    "batch_size": 4,
    "learning_rate": 0.002,
    "warmup_steps": 3,
    "weight_decay": 0.01,
    "label_dropout": 0.1,
    "ema": [0.05, 0.1],
    "class_sampling": "balanced",
    "seed": 1,
}
MODEL = {
    "conditions": ["finding", "sex"],
    "network": NETWORK,
    "diffusion": DIFFUSION,
    "training": TRAINING,
}
FACTS = {
    "image_size": 16,
    "channels": 1,
    "bits": 8,
    "given": None,
    "network": NETWORK,
    "diffusion": DIFFUSION,
    "sigma_data": 0.5,
    "conditions": VALUES,
}
CPU = torch.device("cpu")


def write_images(folder: Path, count: int = 30, size: int = 16) -> tuple[Path, list[Path]]:
    """Write a table of images, every third for validation, and its one shard."""
    y, x = np.mgrid[:size, :size]
    waves = [np.sin((k + 1) * x / 10) + np.cos((k % 4 + 1) * y / 8) for k in range(count)]
    images, shard = folder / "images.parquet", folder / "films.npy"
    np.save(shard, (127 + 60 * np.stack(waves)).astype(np.uint8))
    names = [CLASSES[k % 3] for k in range(count)]
    table = pd.DataFrame(
        {
            "image_id": [f"{k}.png" for k in range(count)],
            "patient_id": [str(k) for k in range(count)],
            "class_id": [k % 3 for k in range(count)],
            "class_name": names,
            "findings": names,
            "age_years": np.linspace(10, 90, count),
            "sex": ["F" if k % 2 else "M" for k in range(count)],
            "view": ["AP" if k % 4 else "PA" for k in range(count)],
            "split": ["val" if k % 3 == (k // 3) % 3 else "train" for k in range(count)],
            "shard": "films",
            "row": range(count),
        }
    )
    write_table(table, images, IMAGES)
    return images, [shard]


def parts(images: Path, shards: list[Path], folder: Path, dropout=0.1, **settings) -> dict:
    """Return the arguments of `train`, whose `settings` are TRAINING and these."""
    settings = TRAINING | settings
    torch.manual_seed(0)
    return {
        "fabric": make_fabric([CPU], bf16=False),
        "network": build_network(NETWORK | {"dropout": dropout}, 16, Conditions(VALUES).width, 2),
        "process": make_process(DIFFUSION, 16, 0.5),
        "batches": Batches(read_split(images, shards, "train"), Conditions(VALUES), settings, CPU),
        "settings": settings,
        "checkpoint": Checkpoint(folder, "key"),
        "validate": lambda network: 0.5,
    }


class Interrupting:
    """Batches that do something to this process when step `at` asks for its own."""

    def __init__(self, batches, at, act):
        self.batches, self.at, self.act = batches, at, act

    def __getitem__(self, step):
        if step == self.at:
            self.act()
        return self.batches[step]


def interrupted(arguments: dict, at: int, act) -> dict:
    """Return the arguments of a training in which `act` is called in step `at`."""
    return arguments | {"batches": Interrupting(arguments["batches"], at, act)}


def weights(network: torch.nn.Module | dict) -> torch.Tensor:
    """Return all weights of a network, or of its state, in one vector."""
    state = network if isinstance(network, dict) else network.state_dict()
    return torch.cat([tensor.flatten() for tensor in state.values()])


def run(folder: Path, images: Path, shards: list[Path], **config) -> None:
    """Train into `folder` as the rule does; `config` adds to its configuration."""
    train_diffusion(
        images,
        shards,
        folder / "model.json",
        {name: folder / "ema" / f"{name}.safetensors" for name in AVERAGE_NAMES},
        folder / "training_log.parquet",
        folder / "progress.png",
        folder / "checkpoints",
        {"model": MODEL, "classes": CLASSES, "precision": "fp32"}
        | {"device": "cpu", "processes": 1, "checkpoint_minutes": 10}
        | config,
        "code",
    )


def outputs(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file below a folder but training states, by path."""
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {
        str(name): path.read_bytes()
        for name, path in sorted(found.items())
        if name.parent.name != "checkpoints"
    }


def killed_in(steps: list[int], folder: Path, images: Path, shard: Path) -> None:
    """Train in one process after another, each killed without warning in its one of `steps`."""
    make = Batches.__getitem__
    for at in steps:
        process = os.fork()
        if process == 0:
            Batches.__getitem__ = lambda batches, step, at=at: (
                make(batches, step) if step != at else os.kill(os.getpid(), signal.SIGKILL)
            )
            run(folder, images, [shard], checkpoint_steps=3)
            os._exit(0)
        _, status = os.waitpid(process, 0)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            sys.exit(f"the training that was to be killed in step {at} was not")


POINTS = 3  # of the log, so that a training may stop between two


def trainings_of_two(fabric, images: Path, shards: list[Path], folder: Path) -> None:
    """Be one of two processes: train; stop and go on; then stop because the parent is told to."""
    facts = FACTS | {"network": NETWORK | {"dropout": 0.0}}
    make = Batches.__getitem__
    loop.LOG_POINTS = POINTS

    def once(name, at=None, act=None):
        def item(batches, step):
            if step == at:
                act()
            return make(batches, step)

        Batches.__getitem__ = item
        (folder / name).mkdir(exist_ok=True)
        checkpoint = Checkpoint(folder / name, "key")
        picture = folder / name / "progress.png"
        train_model(fabric, images, shards, facts, TRAINING, False, checkpoint, picture)

    def stop_me():
        os.kill(os.getpid(), signal.SIGTERM)

    def stop_parent():
        os.kill(os.getppid(), signal.SIGURG)

    with recorded() as history:
        once("whole")
    torch.save(history, folder / f"history{fabric.global_rank}.pt")
    second = fabric.global_rank == 1
    try:
        once("resumed", at=4, act=stop_me if second else lambda: None)
    except InputError as error:
        (folder / f"stop{fabric.global_rank}.txt").write_text(str(error))
    once("resumed")
    for number in range(100):  # the parent has a second to pass it on
        once(f"stopped{number}", at=5, act=stop_parent if second else lambda: None)


@contextmanager
def recorded():
    """Yield the weights of the network after every step, each (weights,), by step from 1."""
    history, update = {}, PowerAverage.update

    def note(average, network, step):
        history[step] = weights(network).clone()
        update(average, network, step)

    PowerAverage.update = note
    yield history
    PowerAverage.update = update


def power_weighted(history: dict[int, torch.Tensor], width: float) -> torch.Tensor:
    """Return the average of weights that is a sum of powers of the step, by its definition."""
    steps = len(history)
    edges = (torch.arange(steps + 1, dtype=torch.float64) / steps) ** (exponent(width) + 1)
    return (edges.diff()[:, None] * torch.stack([history[k + 1] for k in range(steps)])).sum(0)


def end_badly(fabric, how: str) -> None:
    """Be one of two processes, of which the second ends badly."""
    fabric.barrier()  # the first would be gone before the second has met it
    if fabric.global_rank == 1:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "full disk":
            raise OSError(28, "No space left on device", "models/key.pt")
        raise ZeroDivisionError(how)


if __name__ == "__main__":
    folder, images, shard, *steps = sys.argv[1:]
    torch.set_num_threads(1)
    killed_in([int(step) for step in steps], Path(folder), Path(images), Path(shard))
