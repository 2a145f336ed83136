"""Panels: a row per image, a column per thing that was made of it, errors in colour."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from workflow_scripts.common import figures  # its style
from workflow_scripts.common.levels import DEPTHS, bits_of

LEAST_ERROR = 0.02  # of the data range: the scale of errors spans at least this
HIDDEN = np.array([255, 214, 165], dtype=np.uint8)  # what is hidden, in colour on grey films


def panel(
    rows: Sequence[str],
    pictures: Sequence[tuple[str, np.ndarray]],
    errors: Sequence[tuple[str, np.ndarray]],
    title: str,
) -> Figure:
    """Draw columns of pictures, then columns of errors, all errors on one scale.

    Parameters
    ----------
    rows : what each row is called
    pictures : title and images of each column, uint8 (n, h, w) or (n, h, w, 3), of any size
    errors : title and errors of each column, as shares of the data range, (n, h, w)
    title : what the panel shows
    """
    count, columns = len(rows), len(pictures) + len(errors)
    figure, axes = plt.subplots(
        count,
        columns,
        figsize=(1.3 * columns + 1.2, 1.3 * count + 0.8),
        squeeze=False,
        layout="constrained",
    )
    spread = np.abs(np.concatenate([part.ravel() for _, part in errors]))
    most = max(float(np.quantile(spread, 0.995)), LEAST_ERROR)
    scale = {"cmap": "RdBu_r", "vmin": -100 * most, "vmax": 100 * most}
    for number, (heading, images) in enumerate([*pictures, *errors]):
        axes[0, number].set_title(heading, fontsize=8)
        for cell, image in zip(axes[:, number], images, strict=True):
            if number < len(pictures):
                cell.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            else:
                drawn = cell.imshow(100 * image, interpolation="nearest", **scale)
            cell.set(xticks=[], yticks=[])
            cell.spines[:].set_visible(False)
    for cell, name in zip(axes[:, 0], rows, strict=True):
        cell.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    bar = figure.colorbar(drawn, ax=axes, shrink=min(1, 3 / count), pad=0.01)
    bar.set_label("error, % of the range of levels", fontsize=8)
    bar.ax.tick_params(labelsize=7, color=figures.MUTED)
    bar.outline.set_visible(False)
    figure.suptitle(title, fontsize=9)
    return figure


def signed_errors(restored: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return restored minus true levels as shares of the data range, mean of channels: (n, h, w).

    Parameters
    ----------
    restored, truth : stored images, uint8 or uint16, (n, h, w) or (n, h, w, channels)
    """
    error = (restored.astype(np.float64) - truth) / DEPTHS[bits_of(truth.dtype)][1]
    return error.mean(axis=-1) if error.ndim == 4 else error


def with_hidden(pictures: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Return pictures, (n, h, w) or (n, h, w, 3), with what is hidden in colour: uint8 (n, h, w, 3)."""
    if pictures.ndim == 3:
        pictures = np.repeat(pictures[..., None], 3, axis=-1)
    return np.where(hidden[..., None], HIDDEN, pictures)
