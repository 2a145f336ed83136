"""Choose how long the average of a model's weights is, by its loss on the validation split."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from workflow_scripts.common.devices import leased_device
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import write_text
from workflow_scripts.common.precision import use_tf32, wants_bf16
from workflow_scripts.common.runtime import progress, step
from workflow_scripts.common.schemas import AVERAGES
from workflow_scripts.common.tables import write_table
from workflow_scripts.common.weights import write_weights
from workflow_scripts.diffusion.model import load_model
from workflow_scripts.training.batches import read_split
from workflow_scripts.training.checkpoint import clear
from workflow_scripts.training.ema import coefficients, combined, widths_between
from workflow_scripts.training.validation import validation_loss

LENGTHS = 5


def choose_average(
    images: Path,
    shards: list[Path],
    short: Path,
    long: Path,
    unet_config: Path,
    weights: Path,
    average: Path,
    config: dict,
) -> None:
    """Reconstruct averages of several lengths from two, and write the one with the lowest loss.

    Parameters
    ----------
    images : table IMAGES
    shards : the image store's shards
    short, long : the two averages, in a folder below that of model.json
    unet_config, weights : outputs, loaded together by `UNet2DModel.from_pretrained`
    average : output, table AVERAGES
    config : `ema` (the widths of the two), `device`, `precision`

    Raises
    ------
    InputError
        If no average has a finite loss.
    """
    held_out = read_split(images, shards, "val")
    rows = []
    with leased_device(config["device"]) as device:
        model = load_model(short.parents[1], device, weights=short)
        first = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
        second = load_model(short.parents[1], device, weights=long).network.state_dict()
        bf16 = wants_bf16(config["precision"], device)
        use_tf32(bf16)
        widths = config["ema"]
        for width in progress(widths_between(*widths, LENGTHS), "averages", unit="average"):
            model.network.load_state_dict(combined(first, second, coefficients(widths, width)))
            loss = validation_loss(
                model.network, model.process, model.conditions, held_out, bf16, model.degradation
            )
            # What is no number is no better than infinite.
            loss = loss if math.isfinite(loss) else math.inf
            rows.append({"sigma_rel": width, "validation_loss": loss})
        table = pd.DataFrame(rows)
        best = table["validation_loss"].idxmin()
        if math.isinf(table["validation_loss"][best]):
            raise InputError(
                f"no average of the weights in {short.parent} has a finite loss on the validation "
                "split: this training came to nothing. Lower training.learning_rate, or lengthen "
                "training.warmup_steps."
            )
        chosen = coefficients(widths, table["sigma_rel"][best])
        model.network.load_state_dict(combined(first, second, chosen))
    table["chosen"] = table.index == best
    write_table(table, average, AVERAGES)
    save_unet(model.network.unet, unet_config, weights)


def save_unet(unet: torch.nn.Module, unet_config: Path, weights: Path) -> None:
    """Write the two files of diffusers' own layout."""
    unet = unet.to("cpu", memory_format=torch.contiguous_format)
    write_text(unet_config, unet.to_json_string())
    write_weights(unet.state_dict(), weights, {"format": "pt"})


def choose_as_asked(job: Any, trained: Any, config: dict) -> None:
    """Choose the average of a model.

    Parameters
    ----------
    job : Snakemake's object of a rule with the inputs `images` and `shards` and the outputs `unet`,
        `weights` and `average`
    trained : where `short` and `long` are: the job's inputs, or its outputs if it trained the model
    config : as of `choose_average`
    """
    choose_average(
        Path(job.input.images),
        [Path(path) for path in job.input.shards],
        Path(trained.short),
        Path(trained.long),
        Path(job.output.unet),
        Path(job.output.weights),
        Path(job.output.average),
        config,
    )


if __name__ == "__main__":
    with step(snakemake) as config:
        if config is not None:  # not in the cache
            choose_as_asked(snakemake, snakemake.input, config)
    # Now that Snakemake has noted that the training is done.
    clear(snakemake.input.model)
