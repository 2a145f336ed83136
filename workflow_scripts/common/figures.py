"""Figures that look alike: one style, one way to tile images, one way to save."""

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from workflow_scripts.common.files import whole_file

INK, MUTED, ACCENT, WARM = "#1f2933", "#7b8794", "#0b7285", "#d9480f"
# For more of a kind: told apart in every common colour blindness (Okabe & Ito 2008); its yellow is too faint here.
COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#999999",
)  # fmt: skip

plt.rcParams.update(
    {
        "figure.dpi": 100,
        "savefig.dpi": 200,
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": matplotlib.cycler(color=[ACCENT, WARM, MUTED, INK]),
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "legend.frameon": False,
    }
)


def save_figure(figure: Figure, path: str | Path, dpi: int = 200) -> None:
    """Write a PNG without the metadata that changes from run to run, and close the figure."""
    with whole_file(path) as partial:
        figure.savefig(
            partial, dpi=dpi, bbox_inches="tight", facecolor="white", metadata={"Software": None}
        )
    plt.close(figure)


def tile(images: np.ndarray, columns: int, gap: int = 2) -> np.ndarray:
    """Lay images out row by row with a white gap in pixels between them.

    Parameters
    ----------
    images : uint8 (n, height, width) or (n, height, width, 3)
    """
    count, height, width, *colours = images.shape
    rows = -(-count // columns)
    size = (rows * (height + gap) - gap, columns * (width + gap) - gap, *colours)
    sheet = np.full(size, 255, np.uint8)
    for number, image in enumerate(images):
        top, left = (number // columns) * (height + gap), (number % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet
