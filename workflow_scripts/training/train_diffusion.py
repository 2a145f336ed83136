"""Train one model on the training split."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from workflow_scripts.common.devices import can_compile, leased_devices
from workflow_scripts.common.files import sha256_of, write_text
from workflow_scripts.common.precision import wants_bf16
from workflow_scripts.common.runtime import RESOURCES, log, step
from workflow_scripts.common.schemas import SEEN, TRAINING_LOG
from workflow_scripts.common.tables import write_table
from workflow_scripts.common.weights import write_weights
from workflow_scripts.diffusion.conditions import measured_conditions
from workflow_scripts.diffusion.degradation import make_degradation
from workflow_scripts.diffusion.network import network_of
from workflow_scripts.training.batches import Split, pixel_deviation, read_split
from workflow_scripts.training.checkpoint import Checkpoint, checkpoints_of
from workflow_scripts.training.parallel import launch
from workflow_scripts.training.progress import draw_rows
from workflow_scripts.training.worker import train_model

AVERAGE_NAMES = ("short", "long", "early")


def train_diffusion(
    images: Path,
    shards: list[Path],
    facts: Path,
    averages: dict[str, Path],
    training_log: Path,
    progress: Path,
    checkpoints: Path,
    config: dict,
    code: str,
    allowed: int | None = None,
) -> None:
    """Train a diffusion model and write the averages of its weights.

    Parameters
    ----------
    images : table IMAGES
    shards : the image store's shards
    facts : output, model.json: what there is to know about the model beside its weights
    averages : outputs, weights of the network in safetensors, by name: `short` and `long`, over
        the two widths of `training.ema`, and `early`, the short one at a quarter of the steps
    training_log : output, table TRAINING_LOG
    progress : output, picture of what the short average drew on the way
    checkpoints : folder for the state of the run; the last one stays there until `choose_average`
        empties it: a run that is killed before Snakemake has noted its end does not begin anew
    config : `model` (a section of `models`, and where the network is given an image, how that is
        degraded: `given`, as in model.json), `classes` (names), `precision`, and of the resources
        `device`, `processes`, `checkpoint_minutes`, and where it is given `checkpoint_steps`
    code : fingerprint of the code, so that other code does not resume this run
    allowed : how many GPUs the whole run may use at once; None: any number
    """
    model = config["model"]
    about = describe(read_split(images, shards, "train"), model, config["classes"])
    checkpoint = Checkpoint(
        checkpoints,
        run_key(config, code, [images, *shards]),
        float(config["checkpoint_minutes"]),
        config.get("checkpoint_steps"),
    )
    if state := checkpoint.load():
        log.info("going on from step %d of %d", state["step"], model["training"]["steps"])
    del state  # as large as all that is trained
    with leased_devices(config["device"], config["processes"], allowed) as devices:
        bf16 = wants_bf16(config["precision"], devices[0])
        log.info(
            "%.2f million parameters, %.0f million multiply-adds per image, %s",
            about["parameters"] / 1e6,
            about["macs"] / 1e6,
            "bf16" if bf16 else "fp32",
        )
        if devices[0].type == "cuda" and not can_compile(devices[0]):
            log.warning(
                "not compiled, so slower: this needs Triton, a C compiler such as gcc, and the "
                "headers of Python (Python.h), often a package named python3-dev"
            )
        arguments = (images, shards, about, model["training"], bf16, checkpoint, progress)
        launch(train_model, devices, bf16, *arguments)
    state = checkpoint.load()
    write_text(facts, json.dumps(about, indent=2) + "\n")
    for name in AVERAGE_NAMES:
        write_weights(state[name], averages[name])
    rows = pd.DataFrame(state["rows"]).astype({"validation_loss": "float64"})
    write_table(rows, training_log, TRAINING_LOG)
    draw_rows(state["pictures"], progress)


def describe(training: Split, model: dict, classes: list[str]) -> dict:
    """Return the contents of model.json, measured on the training split where they are not given.

    `macs` are the multiply-adds of one evaluation of the network for one image.
    """
    store, given = training.store, model.get("given")
    degradation = make_degradation(given)
    variances = degradation.variances if degradation else ()
    conditions = measured_conditions(model["conditions"], classes, training.table, variances)
    about = {
        "image_size": store.size,
        "channels": store.channels,
        "bits": store.bits,
        "given": given,
        "network": model["network"],
        "diffusion": model["diffusion"],
        "sigma_data": pixel_deviation(store),
        "conditions": conditions.values,
    }
    with torch.device("meta"):  # no storage, no arithmetic
        network = network_of(about, conditions)
        x = torch.zeros(1, network.channels + network.given, store.size, store.size)
        with FlopCounterMode(display=False) as counter:
            network(x, torch.zeros(1), torch.zeros(1, network.width))
    return about | {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "macs": counter.get_total_flops() // 2,
    }


def run_key(config: dict, code: str, inputs: list[Path]) -> str:
    """Hash everything that the weights depend on; a run may go on with other resources."""
    model = {name: value for name, value in config.items() if name not in RESOURCES}
    facts = [model, code, [sha256_of(path) for path in inputs]]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def write_seen(images: Path, shards: list[Path], seen: Path) -> None:
    """Write which images a training is given (SEEN): those of `read_split`."""
    table = read_split(images, shards, "train").table
    write_table(table[["image_id", "patient_id"]], seen, SEEN)


def train_as_asked(job: Any, config: dict) -> None:
    """Train a model, and write which images it is given.

    Parameters
    ----------
    job : Snakemake's object of a rule with the inputs `images` and `shards` and the outputs `model`,
        AVERAGE_NAMES, `log`, `progress` and `seen`
    config : as of `train_diffusion`
    """
    images, shards = Path(job.input.images), [Path(path) for path in job.input.shards]
    train_diffusion(
        images,
        shards,
        Path(job.output.model),
        {name: Path(job.output[name]) for name in AVERAGE_NAMES},
        Path(job.output.log),
        Path(job.output.progress),
        checkpoints_of(job.output.model),
        config,
        job.params.code,
        job.resources.get("gpu"),
    )
    write_seen(images, shards, Path(job.output.seen))


if __name__ == "__main__":
    with step(snakemake) as config:
        if config is not None:  # not in the cache
            train_as_asked(snakemake, config)
