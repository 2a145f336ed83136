"""Do images show what was asked for? The class asked against the class that a classifier sees."""

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from workflow_scripts.common.figures import ACCENT, INK, MUTED, plt


def counts(asked: np.ndarray, seen: np.ndarray, classes: int) -> np.ndarray:
    """Return int64 (classes, classes): images asked as the row's class and seen as the column's."""
    table = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(table, (asked, seen), 1)
    return table


def shares(table: np.ndarray) -> np.ndarray:
    """Return for every class asked the share seen as it; NaN where nothing was asked."""
    asked = table.sum(axis=1)
    return np.divide(np.diag(table), asked, out=np.full(len(table), np.nan), where=asked > 0)


def as_table(table: np.ndarray, classes: list[str]) -> pd.DataFrame:
    """Return one row per pair of classes: asked, seen, images."""
    return pd.DataFrame(
        {
            "asked": np.repeat(classes, len(classes)),
            "seen": np.tile(classes, len(classes)),
            "images": table.ravel(),
        }
    )


def draw(table: np.ndarray, classes: list[str]) -> Figure:
    """Draw the shares of each row as a grid with its numbers."""
    asked = table.sum(axis=1, keepdims=True)
    share = np.divide(table, asked, out=np.zeros(table.shape), where=asked > 0)
    size = 1.6 + 0.62 * len(classes)
    figure, axes = plt.subplots(figsize=(size + 0.6, size))
    colours = LinearSegmentedColormap.from_list("share", ["white", ACCENT])
    axes.imshow(share, cmap=colours, vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(share):
        axes.text(
            column,
            row,
            f"{100 * value:.0f}",
            ha="center",
            va="center",
            color="white" if value > 0.55 else INK if table[row, column] else MUTED,
            fontweight="bold" if row == column else "normal",
        )
    axes.set_xticks(range(len(classes)), classes, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("class seen by the domain classifier")
    axes.set_ylabel("class asked for")
    axes.set_title("Synthetic images, % of each class asked for", loc="left", fontsize=10)
    axes.tick_params(length=0)
    axes.spines[:].set_color(MUTED)
    axes.spines[:].set_linewidth(0.5)
    axes.spines[:].set_visible(True)
    return figure
