"""Draw the denoising strip: one image per class on its way from noise."""

import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from workflow_scripts.common.devices import leased_device
from workflow_scripts.common.figures import save_figure
from workflow_scripts.common.levels import shown
from workflow_scripts.common.pixels import to_pixels
from workflow_scripts.common.precision import use_tf32, wants_bf16
from workflow_scripts.common.runtime import step
from workflow_scripts.diffusion.model import load_guide, load_model
from workflow_scripts.diffusion.sampler import batch_size, image_seeds, stated, trajectory

COLUMNS = 9


def plot_denoising(folder: Path, strip: Path, config: dict) -> None:
    """Show x_t at evenly spaced steps from pure noise to the first image of each class.

    Parameters
    ----------
    folder : the trained model's
    strip : output, PNG at 300 dpi
    config : `sampler` section, `classes` (names), `device`, `precision`
    """
    sampler, names = config["sampler"], config["classes"]
    stops = sampler["steps"] + 1
    chosen = np.linspace(0, stops - 1, min(COLUMNS, stops)).round().astype(int)
    rows = []
    with leased_device(config["device"]) as device:
        model = load_model(folder, device)
        guide = load_guide(folder, sampler["autoguidance"], device)
        bf16 = wants_bf16(config["precision"], device)
        use_tf32(bf16)
        c = torch.stack([stated(model, name, sampler["condition"]) for name in names])
        seeds = torch.cat([image_seeds(sampler["seed"], name, [0]) for name in names])
        for part in torch.arange(len(names)).split(batch_size(model)):
            path = trajectory(model, c[part], seeds[part], sampler, guide, bf16)
            stages = [stage for number, stage in enumerate(path) if number in chosen]
            # At one contrast: EDM's x_t begins 80 times as wide as an image.
            images = [to_pixels(x / math.hypot(level.alpha, level.sigma)) for level, x in stages]
            rows.extend(np.stack(list(map(shown, images)), axis=1))
    figure, axes = plt.subplots(
        len(names), len(chosen), figsize=(len(chosen), len(names) * 1.05), squeeze=False
    )
    for row, name, images in zip(axes, names, rows, strict=True):
        for cell, image in zip(row, images, strict=True):
            cell.imshow(image, cmap="gray", vmin=0, vmax=255)
            cell.set(xticks=[], yticks=[])
            cell.spines[:].set_visible(False)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for cell, (level, _) in zip(axes[0], stages, strict=True):
        cell.set_title(f"t = {level.t:.4g}" if level.sigma else "image", fontsize=8)
    figure.subplots_adjust(wspace=0.04, hspace=0.04)
    save_figure(figure, strip, dpi=300)


if __name__ == "__main__":
    with step(snakemake) as config:
        plot_denoising(Path(snakemake.input.model[0]).parent, Path(snakemake.output.strip), config)
