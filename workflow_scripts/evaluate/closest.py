"""The sheet of the closest pairs: synthetic images beside their nearest training images."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.common.figures import INK, MUTED, WARM, plt, tile
from workflow_scripts.common.levels import shown
from workflow_scripts.common.numbers import fixed
from workflow_scripts.evaluate.rows import Pictures

PAIRS = 24  # at most
COLUMNS = 4  # pairs beside each other
TITLE = (
    "Synthetic image (left) and its nearest training image (right), the closest pairs first.\n"
    "Number: distance over the threshold of its class; below 1, in colour, it counts as a copy."
)


def closest_pairs(
    table: pd.DataFrame, pictures: Pictures
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Return the pairs nearest for their thresholds, and pictures of both sides.

    Parameters
    ----------
    table : COPIES of one feature space
    """
    relative = table["distance"] / table["threshold"]
    pairs = table.assign(relative=relative).sort_values(["relative", "image_id"])
    pairs = pairs.head(PAIRS)
    sides = [
        shown(store.gather(pd.Index(index["image_id"]).get_indexer(pairs[key])))
        for store, index, key in (
            (pictures.synthetic, pictures.samples, "image_id"),
            (pictures.real, pictures.images, "nearest_image_id"),
        )
    ]
    return pairs, *sides


def draw(pairs: pd.DataFrame, synthetic: np.ndarray, real: np.ndarray) -> Figure:
    """Draw each pair with its class and its distance, marked where it counts as a copy.

    Parameters
    ----------
    pairs : columns `class_name`, `relative` (distance over threshold) and `copied`
    synthetic, real : both sides, uint8 (n, height, width) or (n, height, width, 3)
    """
    rows = -(-len(pairs) // COLUMNS)
    figure, axes = plt.subplots(
        rows, COLUMNS, figsize=(2.3 * COLUMNS, 1.45 * rows), squeeze=False, layout="constrained"
    )
    for panel in axes.flat[len(pairs) :]:
        panel.set_axis_off()
    for panel, pair, *images in zip(axes.flat, pairs.itertuples(), synthetic, real, strict=False):
        colour = WARM if pair.copied else MUTED
        panel.imshow(tile(np.stack(images), 2), cmap="gray", vmin=0, vmax=255)
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set(visible=True, color=colour, linewidth=2 if pair.copied else 0.5)
        words = f"{pair.class_name}  {fixed(pair.relative, 2)}"
        panel.set_title(words, fontsize=8, color=WARM if pair.copied else INK)
    figure.suptitle(TITLE, fontsize=9, x=0.01, ha="left")
    return figure
