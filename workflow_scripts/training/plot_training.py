"""Draw a model's loss curve and its forward strip."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from workflow_scripts.common.figures import ACCENT, MUTED, WARM, save_figure
from workflow_scripts.common.levels import shown
from workflow_scripts.common.pixels import to_input, to_pixels
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import IMAGES, TRAINING_LOG
from workflow_scripts.common.seeds import seed_for
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table
from workflow_scripts.diffusion.process import make_process

COLUMNS = 11
# How a level is called where time is counted, where it flows, and where it is the noise itself.
LABELS = {
    "ddpm": "t = {t:.0f}\n√ᾱ = {alpha:.3f}",
    "vp_sde": "t = {t:.2f}\nα = {alpha:.3f}",
    "edm": "σ = {sigma:.3g}",
}


def plot_loss(training_log: Path, curve: Path) -> None:
    """Draw training and validation loss and, below, the learning rate, against the step."""
    rows = read_table(training_log, TRAINING_LOG)
    figure, (loss, rate) = plt.subplots(
        2, 1, figsize=(6, 4), sharex=True, height_ratios=[3, 1], layout="constrained"
    )
    loss.plot(rows["step"], rows["loss"], color=MUTED, lw=1, label="training")
    held_out = rows.dropna(subset="validation_loss")
    loss.plot(
        held_out["step"],
        held_out["validation_loss"],
        color=WARM,
        marker="o",
        ms=3,
        label="validation (averaged weights)",
    )
    loss.set(yscale="log", ylabel="weighted loss")
    loss.legend()
    rate.plot(rows["step"], rows["learning_rate"], color=ACCENT, lw=1)
    rate.set(xlabel="step", ylabel="learning rate")
    save_figure(figure, curve)


def plot_forward(images: Path, shards: list[Path], facts: Path, strip: Path, seed: int) -> None:
    """Draw one training image at noise levels spread evenly over those of training, at 300 dpi.

    Images are shown at unit variance of signal and noise together, as α² + σ² = 1 has them already.

    Parameters
    ----------
    facts : model.json
    """
    about = json.loads(facts.read_text(encoding="utf-8"))
    process = make_process(about["diffusion"], about["image_size"], about["sigma_data"])
    table = read_table(images, IMAGES)
    chosen = table[table["split"] == "train"].head(1)
    x0 = to_input(ImageStore(chosen, shards).all(), torch.device("cpu"))
    # Of a continuous noise the quantiles 0 and 1 are at its very ends: it begins and ends near them.
    t = process.levels(torch.linspace(0, 1, COLUMNS).clamp(1e-3, 1 - 1e-3))
    eps = process.eps(x0.shape, torch.Generator().manual_seed(seed_for(seed, "strip")))
    alpha, sigma = process.marginal(t)
    noisy = shown(to_pixels(process.noisy(x0, eps, t) / (alpha**2 + sigma**2).sqrt()))
    figure, axes = plt.subplots(1, COLUMNS, figsize=(COLUMNS, 1.35), layout="constrained")
    label = LABELS[about["diffusion"]["process"]]
    levels = zip(t.tolist(), alpha.flatten().tolist(), sigma.flatten().tolist(), strict=True)
    for cell, image, (time, signal, noise) in zip(axes, noisy, levels, strict=True):
        cell.imshow(image, cmap="gray", vmin=0, vmax=255)
        cell.set_title(label.format(t=time, alpha=signal, sigma=noise), fontsize=7)
        cell.axis("off")
    save_figure(figure, strip, dpi=300)


if __name__ == "__main__":
    with step(snakemake) as config:
        plot_loss(Path(snakemake.input.log), Path(snakemake.output.curve))
        plot_forward(
            Path(snakemake.input.images),
            [Path(path) for path in snakemake.input.shards],
            Path(snakemake.input.model),
            Path(snakemake.output.strip),
            config["seed"],
        )
