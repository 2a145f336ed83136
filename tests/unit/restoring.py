"""Test images of every type that a store may hold, and a model of them."""

from pathlib import Path

import numpy as np
import pandas as pd

from tests.untrained import untrained
from workflow_scripts.common.levels import DEPTHS
from workflow_scripts.common.schemas import IMAGES
from workflow_scripts.common.tables import write_table

CLASSES = ["No Finding", "Effusion", "Pneumonia"]
STORES = [(1, 8), (1, 16), (3, 8)]  # channels and bits


def write_store(
    folder: Path, count: int = 12, size: int = 16, channels: int = 1, bits: int = 8
) -> tuple[Path, list[Path]]:
    """Write a table of images and their shard; two images of each patient, all but four for the test."""
    folder.mkdir(parents=True, exist_ok=True)
    dtype, most = DEPTHS[bits]
    y, x = np.mgrid[:size, :size] / size
    waves = [np.sin((k % 5 + 1) * x + k) + np.cos((k % 3 + 1) * y) for k in range(count * channels)]
    levels = most * (0.5 + 0.2 * np.stack(waves))
    levels += np.random.default_rng(0).uniform(0, 0.05 * most, levels.shape)  # every level occurs
    shape = (count, size, size) if channels == 1 else (count, size, size, channels)
    np.save(folder / "films.npy", levels.reshape(shape).astype(dtype))
    names = [CLASSES[k % 3] for k in range(count)]
    table = pd.DataFrame(
        {
            "image_id": [f"{k:03d}.png" for k in range(count)],
            "patient_id": [str(k // 2) for k in range(count)],
            "class_id": [k % 3 for k in range(count)],
            "class_name": names,
            "findings": names,
            "age_years": np.linspace(10, 90, count),
            "sex": ["F" if k % 2 else "M" for k in range(count)],
            "view": ["AP" if k % 4 else "PA" for k in range(count)],
            "split": ["train" if k < 4 else "test" for k in range(count)],
            "shard": "films",
            "row": range(count),
        }
    )
    write_table(table, folder / "images.parquet", IMAGES)
    return folder / "images.parquet", [folder / "films.npy"]


def model_of(folder: Path, channels: int = 1, bits: int = 8, **facts) -> Path:
    """Write an untrained model of such images, and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return untrained(folder, channels=channels, bits=bits, **facts)


def shown_in(figure, columns: int) -> dict[str, np.ndarray]:
    """Return the images of each column of a panel by its title, from above: (rows, h, w, ...)."""
    grid = np.array([axes for axes in figure.axes if axes.images]).reshape(-1, columns)
    return {
        column[0].get_title(): np.stack([np.asarray(cell.images[0].get_array()) for cell in column])
        for column in grid.T
    }
