"""Draw a model's loss curve and its forward strip."""

from pathlib import Path

import matplotlib.pyplot as plt
import torch

from workflow_scripts.common.figures import ACCENT, MUTED, WARM, save_figure
from workflow_scripts.common.pixels import to_input, to_uint8
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import IMAGES, TRAINING_LOG
from workflow_scripts.common.seeds import seed_for
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table
from workflow_scripts.diffusion.objective import Objective

COLUMNS = 11


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
    loss.set(yscale="log", ylabel="weighted squared error")
    loss.legend()
    rate.plot(rows["step"], rows["learning_rate"], color=ACCENT, lw=1)
    rate.set(xlabel="step", ylabel="learning rate")
    save_figure(figure, curve)


def plot_forward(images: Path, shards: list[Path], strip: Path, diffusion: dict, seed: int) -> None:
    """Draw one training image at evenly spaced t from 0 to T − 1, labelled, at 300 dpi."""
    table = read_table(images, IMAGES)
    chosen = table[table["split"] == "train"].head(1)
    x0 = to_input(ImageStore(chosen, shards).all(), torch.device("cpu"))
    objective = Objective(diffusion)
    t = torch.linspace(0, objective.timesteps - 1, COLUMNS).round().long()
    stream = torch.Generator().manual_seed(seed_for(seed, "forward strip"))
    eps = torch.randn(x0.shape, generator=stream)
    noisy = to_uint8(objective.noisy(x0.expand(COLUMNS, -1, -1, -1), eps, t))
    figure, axes = plt.subplots(1, COLUMNS, figsize=(COLUMNS, 1.35), layout="constrained")
    for cell, image, step_number in zip(axes, noisy, t.tolist(), strict=True):
        cell.imshow(image, cmap="gray", vmin=0, vmax=255)
        cell.set_title(f"t = {step_number}\n√ᾱ = {objective.signal[step_number]:.3f}", fontsize=7)
        cell.axis("off")
    save_figure(figure, strip, dpi=300)


if __name__ == "__main__":
    with step(snakemake) as config:
        plot_loss(Path(snakemake.input.log), Path(snakemake.output.curve))
        plot_forward(
            Path(snakemake.input.images),
            [Path(path) for path in snakemake.input.shards],
            Path(snakemake.output.strip),
            config["diffusion"],
            config["seed"],
        )
