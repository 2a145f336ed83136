"""A panel of examples: what each method makes of a noisy patch, its error, and its uncertainty."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.common.figures import INK, MUTED, plt
from workflow_scripts.denoising.rows import mask_of
from workflow_scripts.metrics.restoration import psnr

PANEL = 1.25  # inches


@dataclass(frozen=True)
class Picture:
    """One image of a row of examples.

    Attributes
    ----------
    name : of the method, or what else it is
    image : (h, w) or (h, w, 3) in [0, 1]
    spread : standard deviation of the drawn answers, (h, w); None where there is but one
    """

    name: str
    image: np.ndarray
    spread: np.ndarray | None = None


def draw_examples(
    rows: list[tuple[np.ndarray, list[Picture]]], condition: str, score: dict
) -> Figure:
    """Draw per patch a row of images, below each its absolute error, below that its spread.

    Error and spread have one scale per patch, so that they can be compared.

    Parameters
    ----------
    rows : of each patch the clean image, in [0, 1], and what became of it, the noisy one first
    condition : the noise, for the title
    score : configuration section `score`, for the PSNR above each image
    """
    columns = 1 + len(rows[0][1])
    figure, axes = plt.subplots(
        3 * len(rows),
        columns,
        figsize=(columns * PANEL + 0.7, 3 * len(rows) * (PANEL + 0.1) + 0.3),
        layout="constrained",
    )
    for panel in axes.flat:
        panel.set_axis_off()
    for number, (clean, pictures) in enumerate(rows):
        images, errors, spreads = axes[3 * number : 3 * number + 3]
        show(images[0], clean)
        images[0].set_title("clean", fontsize=8)
        mask = mask_of(clean, score)
        most = max(np.abs(p.image - clean).max() for p in pictures[1:] or pictures)
        for column, picture in enumerate(pictures, start=1):
            show(images[column], picture.image)
            value = psnr(clean, picture.image.clip(0, 1), score["data_range"], mask)
            images[column].set_title(f"{picture.name}\n{value:.1f} dB", fontsize=8)
            scale = {"cmap": "magma", "vmin": 0, "vmax": most}
            shown = errors[column].imshow(flat(np.abs(picture.image - clean)), **scale)
            if picture.spread is not None:
                spreads[column].imshow(flat(picture.spread), **scale)
        figure.colorbar(shown, ax=[errors[-1], spreads[-1]], shrink=0.8, pad=0.04).ax.tick_params(
            labelsize=7
        )
        for panel, label in ((errors[0], "error"), (spreads[0], "spread of\nthe answers")):
            panel.text(1, 0.5, label, ha="right", va="center", fontsize=8, color=INK)
    figure.suptitle(f"Examples: {condition}", fontsize=9, x=0.01, ha="left", color=MUTED)
    return figure


def show(axes: Axes, image: np.ndarray) -> None:
    """Show an image in [0, 1]; of channels that are no colours the first."""
    if image.ndim == 3 and image.shape[2] != 3:
        image = image[..., 0]
    axes.imshow(image.clip(0, 1), cmap="gray", vmin=0, vmax=1)


def flat(map_: np.ndarray) -> np.ndarray:
    """Return a map (h, w), of several channels their mean."""
    return map_.mean(axis=2) if map_.ndim == 3 else map_
