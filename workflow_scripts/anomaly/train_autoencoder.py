"""Train the autoencoder that healing is compared with, on healthy images alone."""

import copy
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from workflow_scripts.anomaly.autoencoder import Autoencoder, parameters
from workflow_scripts.anomaly.judged import require_images
from workflow_scripts.common.devices import leased_device
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.findings import single_finding
from workflow_scripts.common.pixels import to_input
from workflow_scripts.common.runtime import log, progress, step
from workflow_scripts.common.schemas import AUTOENCODER_LOG, IMAGES, SEEN
from workflow_scripts.common.seeds import generator, seed_for
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table, table_of, write_table
from workflow_scripts.common.weights import write_weights

VALIDATIONS = 20
BATCH = 64  # of validation images


def train_autoencoder(
    images: Path,
    shards: list[Path],
    settings: dict,
    healthy: str,
    seed: int,
    device: str,
    weights: Path,
    training_log: Path,
    seen_path: Path,
) -> None:
    """Train on the healthy images of the training split, by squared error, and on no others.

    AdamW under a one-cycle learning rate, as the classifier's. What is written are the weights whose
    error on healthy images of the validation split was the least of `VALIDATIONS`.

    Parameters
    ----------
    settings : `latent`, `steps`, `batch_size`, `learning_rate`
    healthy : the class that counts as healthy
    weights : output, safetensors
    training_log : output, table AUTOENCODER_LOG
    seen_path : output, table SEEN: the images that were learned from

    Raises
    ------
    InputError
        If the error is no number, or as of `require_images`.
    """
    table = read_table(images, IMAGES)
    require_images(table, healthy)
    well = table[single_finding(table) & (table["class_name"] == healthy)]
    seen, held_out = (well[well["split"] == split] for split in ("train", "val"))
    store, steps, size = ImageStore(seen, shards), settings["steps"], settings["batch_size"]
    rng, rows, best = generator(seed, "autoencoder"), [], (math.inf, {})
    order = np.concatenate(
        [rng.permutation(len(seen)) for _ in range(-(-steps * size // len(seen)))]
    )
    with leased_device(device) as where:
        validation = ImageStore(held_out, shards).all()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(seed, "initial weights"))
            model = Autoencoder(store.size, store.channels, settings["latent"])
        model = model.to(where)
        optimiser = torch.optim.AdamW(model.parameters(), settings["learning_rate"])
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, settings["learning_rate"], total_steps=steps
        )
        total = 0.0
        for done in progress(range(1, steps + 1), "training the autoencoder", unit="step"):
            x = to_input(store.gather(order[(done - 1) * size : done * size]), where)
            loss = F.mse_loss(model(x), x)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.detach()
            if done % max(1, steps // VALIDATIONS) == 0 or done == steps:
                error = reconstruction_error(model, validation)
                since = done - (rows[-1]["step"] if rows else 0)
                rows.append({"step": done, "loss": float(total) / since, "validation_loss": error})
                total = 0.0
                if error < best[0]:
                    best = error, copy.deepcopy(model.state_dict())
    if not best[1]:
        raise InputError(
            "the autoencoder diverged: its error is no number. Lower its learning_rate in "
            "the section anomaly."
        )
    log.info(
        "%.2f million parameters, %d steps on %d healthy images of %d patients; squared error %.4f",
        parameters(model) / 1e6,
        steps,
        len(seen),
        seen["patient_id"].nunique(),
        best[0],
    )
    write_weights(best[1], weights)
    write_table(table_of(rows, AUTOENCODER_LOG), training_log, AUTOENCODER_LOG)
    write_table(seen[["image_id", "patient_id"]], seen_path, SEEN)


@torch.inference_mode()
def reconstruction_error(model: Autoencoder, images: np.ndarray) -> float:
    """Return the mean squared error over images as the store has them, in units of [-1, 1]."""
    device = next(model.parameters()).device
    total = 0.0
    for start in range(0, len(images), BATCH):
        x = to_input(images[start : start + BATCH], device)
        total += F.mse_loss(model(x), x, reduction="sum").item() / x[0].numel()
    return total / len(images)


if __name__ == "__main__":
    with step(snakemake) as config:
        if config is not None:  # not in the cache
            train_autoencoder(
                Path(snakemake.input.images),
                [Path(path) for path in snakemake.input.shards],
                config["autoencoder"],
                config["healthy"],
                config["seed"],
                config["device"],
                Path(snakemake.output.weights),
                Path(snakemake.output.log),
                Path(snakemake.output.seen),
            )
