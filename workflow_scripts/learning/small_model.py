"""A small model, trained as the workflow trains, and what it has learnt at each noise level."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import torch
import yaml

from workflow_scripts.common import configuration
from workflow_scripts.common.fingerprint import ROOT
from workflow_scripts.common.pixels import to_input
from workflow_scripts.common.seeds import seed_for
from workflow_scripts.diffusion.model import Model
from workflow_scripts.training.batches import Split
from workflow_scripts.training.choose_average import choose_average
from workflow_scripts.training.train_diffusion import AVERAGE_NAMES, train_diffusion


def recipe(network: dict | None = None, training: dict | None = None, **sections) -> dict:
    """Return the recommended model of config.yaml with some of its entries changed.

    Parameters
    ----------
    network, training, sections : entries that differ, by section, such as
        `diffusion={"prediction": "epsilon"}`; a list, such as that of `conditions`, as a whole
    """
    text = (ROOT / "config.yaml").read_text(encoding="utf-8")
    model = configuration.load(yaml.safe_load(text))["models"]["recommended"]
    given = {"network": network or {}, "training": training or {}} | sections
    return model | {
        name: model[name] | changes if isinstance(changes, dict) else changes
        for name, changes in given.items()
    }


def train_small(
    folder: Path, images: Path, shards: list[Path], model: dict, classes: list[str]
) -> Path:
    """Train a model on the CPU, choose its average, and return its folder, which `load_model` reads.

    The files are those of `results/<data>/models/<name>/`, the training's last state included.
    """
    averages = {name: folder / "ema" / f"{name}.safetensors" for name in AVERAGE_NAMES}
    computing = {"device": "cpu", "precision": "fp32"}
    train_diffusion(
        images,
        shards,
        folder / "model.json",
        averages,
        folder / "training_log.parquet",
        folder / "progress.png",
        folder / "checkpoints",
        {"model": model, "classes": classes, "processes": 1, "checkpoint_minutes": 10} | computing,
        "notebook",
    )
    choose_average(
        images,
        shards,
        averages["short"],
        averages["long"],
        folder / "unet" / "config.json",
        folder / "unet" / "diffusion_pytorch_model.safetensors",
        folder / "average.parquet",
        {"ema": model["training"]["ema"]} | computing,
    )
    return folder


@torch.inference_mode()
def loss_by_level(model: Model, split: Split, quantiles: Iterable[float]) -> pd.DataFrame:
    """Return the mean loss of all images of a split at each of some noise levels.

    Columns: `quantile` of the noise levels of training, `ratio` σ/α, `loss` as training weighs it,
    and `error`, the root mean square error of the x_0 that the network's answer stands for.
    """
    process, stream = model.process, torch.Generator().manual_seed(seed_for("levels"))
    x0 = to_input(split.store.all(), model.device)
    c = model.conditions.encode(split.table)
    rows = []
    for quantile in quantiles:
        eps = process.eps(x0.shape, stream)
        t = process.levels(torch.full((len(x0),), quantile))
        x = process.noisy(x0, eps, t)
        output = model.network(process.network_input(x, t), process.network_time(t), c)
        alpha, sigma = process.marginal(t)
        c_skip, c_out, _ = process.scalings(alpha, sigma)
        rows.append(
            {
                "quantile": quantile,
                "ratio": (sigma / alpha)[0].item(),
                "loss": process.loss(output, x0, eps, t).mean().item(),
                "error": (c_skip * x + c_out * output - x0).square().mean().sqrt().item(),
            }
        )
    return pd.DataFrame(rows)
