"""What each process of a training does: build its parts from files and facts, and train."""

from functools import partial
from pathlib import Path

import torch
from lightning_fabric import Fabric

from workflow_scripts.common.seeds import seed_for
from workflow_scripts.diffusion.conditions import Conditions
from workflow_scripts.diffusion.degradation import make_degradation
from workflow_scripts.diffusion.network import network_of
from workflow_scripts.diffusion.process import Regression, make_process
from workflow_scripts.training.batches import Batches, read_split
from workflow_scripts.training.checkpoint import Checkpoint
from workflow_scripts.training.loop import train
from workflow_scripts.training.progress import ProgressGrid
from workflow_scripts.training.validation import validation_loss


def train_model(
    fabric: Fabric,
    images: Path,
    shards: list[Path],
    facts: dict,
    settings: dict,
    bf16: bool,
    checkpoint: Checkpoint,
    progress: Path,
) -> None:
    """Train a model until its last state is in `checkpoint`.

    Parameters
    ----------
    images, shards : table IMAGES, and the image store's shards
    facts : contents of model.json
    settings : the configuration section `training` of the model
    bf16 : whether `fabric` computes in it
    progress : picture of what the model draws on the way
    """
    conditions = Conditions(facts["conditions"])
    torch.manual_seed(seed_for(settings["seed"], "weights"))
    network = network_of(facts, conditions)
    process = make_process(
        facts["diffusion"], facts["image_size"], facts["sigma_data"], fabric.device
    )
    degradation = make_degradation(facts["given"])
    batches = Batches(
        read_split(images, shards, "train"),
        conditions,
        settings,
        fabric.device,
        fabric.global_rank,
        fabric.world_size,
        degradation,
        isinstance(process, Regression),
        process.eps,
    )
    held_out = read_split(images, shards, "val")
    validate = partial(
        validation_loss,
        process=process,
        conditions=conditions,
        split=held_out,
        bf16=bf16,
        degradation=degradation,
    )
    grid = ProgressGrid(
        process, conditions, held_out.store, bf16, fabric.device, progress, degradation
    )
    train(fabric, network, process, batches, settings, checkpoint, validate, grid)
