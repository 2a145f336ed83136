"""Train one model on the training split."""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import torch
from lightning_fabric import Fabric

from workflow_scripts.common.devices import leased_device
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import sha256_of, whole_file
from workflow_scripts.common.precision import wants_bf16
from workflow_scripts.common.runtime import log, step
from workflow_scripts.common.schemas import IMAGES, TRAINING_LOG
from workflow_scripts.common.seeds import seed_for
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.diffusion.checkpoint import Checkpoint
from workflow_scripts.diffusion.network import build_denoiser
from workflow_scripts.diffusion.objective import Objective
from workflow_scripts.diffusion.training import ImageSet, train


def train_diffusion(
    images: Path,
    shards: list[Path],
    unet_config: Path,
    weights: Path,
    training_log: Path,
    checkpoints: Path,
    config: dict,
    code: str,
) -> None:
    """Train a class-conditional diffusion model and write its averaged weights.

    Parameters
    ----------
    images : table IMAGES
    shards : the image store's shards
    unet_config, weights : outputs, loaded together by `UNet2DModel.from_pretrained`
    training_log : output, table TRAINING_LOG
    checkpoints : folder for the state of an unfinished run
    config : `model` (a section of `models`), `classes`, `device`, `precision`
    code : fingerprint of the code, so that other code does not resume this run
    """
    model = config["model"]
    table = read_table(images, IMAGES)
    splits = {}
    for split in ("train", "val"):
        rows = table[table["split"] == split]
        if rows.empty:
            raise InputError(f"{images} holds no image of the {split} split")
        splits[split] = ImageSet(ImageStore(rows, shards), rows["class_id"].to_numpy())
    key = run_key(config, code, [images, *shards])
    checkpoint = Checkpoint(checkpoints, key)
    with leased_device(config["device"]) as device:
        fabric = Fabric(
            accelerator=device.type,
            devices=[device.index] if device.type == "cuda" else 1,
            precision="bf16-mixed" if wants_bf16(config["precision"], device) else "32-true",
        )
        torch.manual_seed(seed_for(model["training"]["seed"], "weights"))
        denoiser = build_denoiser(model["network"], splits["train"].store.size, config["classes"])
        size = sum(parameter.numel() for parameter in denoiser.parameters())
        log.info(
            "%.2f million parameters, %d training images, %s",
            size / 1e6,
            len(splits["train"].classes),
            fabric.strategy.precision.precision,
        )
        averaged, rows = train(
            denoiser,
            Objective(model["diffusion"], device),
            splits["train"],
            splits["val"],
            model["training"],
            fabric,
            checkpoint,
        )
    write_table(rows, training_log, TRAINING_LOG)
    save_unet(averaged.unet, unet_config, weights)
    checkpoint.clear()


def run_key(config: dict, code: str, inputs: list[Path]) -> str:
    """Hash everything that the weights depend on; a run may go on on another device."""
    model = {name: value for name, value in config.items() if name != "device"}
    facts = [model, code, [sha256_of(path) for path in inputs]]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def save_unet(unet: torch.nn.Module, unet_config: Path, weights: Path) -> None:
    """Write the two files of diffusers' own layout."""
    with tempfile.TemporaryDirectory(dir=weights.parent) as folder:
        unet.cpu().save_pretrained(folder, safe_serialization=True)
        for path in (unet_config, weights):
            with whole_file(path) as partial:
                # Copied: the original can be read by nobody else.
                shutil.copyfile(Path(folder) / path.name, partial)


if __name__ == "__main__":
    with step(snakemake) as config:
        train_diffusion(
            Path(snakemake.input.images),
            [Path(path) for path in snakemake.input.shards],
            Path(snakemake.output.unet),
            Path(snakemake.output.weights),
            Path(snakemake.output.log),
            Path(snakemake.output.unet).parents[1] / "checkpoints",
            config,
            snakemake.params.code,
        )
