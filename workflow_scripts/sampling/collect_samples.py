"""List all images of one model and sampler, and show some of each class."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from workflow_scripts.common.figures import save_figure, tile
from workflow_scripts.common.levels import shown
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import SAMPLES
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table, write_table

COLUMNS, ROWS = 8, 4


def collect_samples(
    indices: list[Path], shards: list[Path], samples: Path, grids: list[Path]
) -> None:
    """Join the shards' tables and draw a grid per class.

    Parameters
    ----------
    indices : tables SAMPLES, one per shard
    shards : their `.npy` files
    samples : output, table SAMPLES in the order of the image ids
    grids : output, one PNG per class in the order of class ids
    """
    table = pd.concat([read_table(path, SAMPLES) for path in indices])
    table = table.sort_values("image_id", ignore_index=True)
    write_table(table, samples, SAMPLES)
    for (_, name), path in zip(
        table.groupby(["class_id", "class_name"]).size().index, grids, strict=True
    ):
        chosen = table[table["class_name"] == name].head(COLUMNS * ROWS)
        figure, axes = plt.subplots(figsize=(COLUMNS, ROWS + 0.4))
        sheet = tile(shown(ImageStore(chosen, shards).all()), COLUMNS)
        axes.imshow(sheet, cmap="gray", vmin=0, vmax=255)
        axes.set_title(
            f"{name}: synthetic, the first {len(chosen)} of {sum(table.class_name == name)}"
        )
        axes.axis("off")
        save_figure(figure, path)


if __name__ == "__main__":
    with step(snakemake):
        collect_samples(
            [Path(path) for path in snakemake.input.indices],
            [Path(path) for path in snakemake.input.shards],
            Path(snakemake.output.samples),
            [Path(path) for path in snakemake.output.grids],
        )
