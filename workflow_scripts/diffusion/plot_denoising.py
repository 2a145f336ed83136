"""Draw the denoising strip: one image per class on its way from noise."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from workflow_scripts.common.devices import leased_device
from workflow_scripts.common.figures import save_figure
from workflow_scripts.common.pixels import to_uint8
from workflow_scripts.common.precision import wants_bf16
from workflow_scripts.common.runtime import step
from workflow_scripts.common.seeds import seed_for
from workflow_scripts.diffusion.network import load_denoiser
from workflow_scripts.diffusion.sampler import BATCH, make_scheduler, trajectory

COLUMNS = 9


def plot_denoising(weights: Path, strip: Path, config: dict) -> None:
    """Show x_t at evenly spaced steps from pure noise to the first image of each class.

    Parameters
    ----------
    weights : the network's safetensors file
    strip : output, PNG at 300 dpi
    config : `sampler` and `diffusion` sections, `classes` (names), `device`, `precision`
    """
    sampler, diffusion, names = config["sampler"], config["diffusion"], config["classes"]
    times = make_scheduler(sampler, diffusion).timesteps.tolist()
    shown = np.linspace(0, len(times), min(COLUMNS, len(times) + 1)).round().astype(int)
    rows = []
    with leased_device(config["device"]) as device:
        denoiser = load_denoiser(weights, device)
        bf16 = wants_bf16(config["precision"], device)
        for start in range(0, len(names), BATCH):
            class_ids = range(start, min(start + BATCH, len(names)))
            seeds = [seed_for(sampler["seed"], class_id, 0) for class_id in class_ids]
            path = trajectory(denoiser, torch.tensor(class_ids), seeds, sampler, diffusion, bf16)
            stages = [to_uint8(x) for number, x in enumerate(path) if number in shown]
            rows.extend(np.stack(stages, axis=1))
    figure, axes = plt.subplots(
        len(names), len(shown), figsize=(len(shown), len(names) * 1.05), squeeze=False
    )
    for row, name, images in zip(axes, names, rows, strict=True):
        for cell, image in zip(row, images, strict=True):
            cell.imshow(image, cmap="gray", vmin=0, vmax=255)
            cell.set(xticks=[], yticks=[])
            cell.spines[:].set_visible(False)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for cell, number in zip(axes[0], shown, strict=True):
        cell.set_title("image" if number == len(times) else f"t = {times[number]}", fontsize=8)
    figure.subplots_adjust(wspace=0.04, hspace=0.04)
    save_figure(figure, strip, dpi=300)


if __name__ == "__main__":
    with step(snakemake) as config:
        plot_denoising(Path(snakemake.input.weights), Path(snakemake.output.strip), config)
