"""Pictures that travel inside the page."""

import base64
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from workflow_scripts.common.levels import shown
from workflow_scripts.common.seeds import generator

WIDEST = 1600  # pixels; twice the width of the page's text
TILE = 192


@dataclass(frozen=True)
class Picture:
    """An image as a data URI, with its size in pixels."""

    uri: str
    width: int
    height: int


def picture(image: Image.Image, widest: int = WIDEST) -> Picture:
    """Return an image as WebP, lossless where that is smaller, reduced to `widest` pixels."""
    if image.width > widest:
        height = max(1, round(image.height * widest / image.width))
        image = image.resize((widest, height), Image.Resampling.LANCZOS)
    image = image.convert("RGB")
    candidates = []
    for options in ({"lossless": True}, {"quality": 75}):
        stream = BytesIO()
        image.save(stream, "WEBP", method=4, **options)
        candidates.append(stream.getvalue())
    data = base64.b64encode(min(candidates, key=len)).decode()
    return Picture(f"data:image/webp;base64,{data}", image.width, image.height)


def picture_file(path: str | Path) -> Picture:
    """Return a figure that another step drew."""
    with Image.open(path) as image:
        return picture(image.convert("RGB"))


def pictures(images: np.ndarray) -> list[Picture]:
    """Return images of a store, one by one."""
    return [picture(Image.fromarray(image), TILE) for image in shown(images)]


def examples(index: pd.DataFrame, class_id: int, number: int) -> np.ndarray:
    """Choose up to `number` rows of a class to show: drawn by lot, not picked by eye.

    Real images are taken from the test split, which no generator has seen, then from validation
    and training where that is too small; within a split, of a patient one before any second.

    Returns
    -------
    int64 (m,), positions in `index`
    """
    positions = np.flatnonzero(index["class_id"] == class_id)
    positions = generator("examples", class_id).permutation(positions)
    chosen = index.iloc[positions]
    if "split" in index:
        order = pd.DataFrame(
            {
                "repeat": chosen["patient_id"].duplicated().to_numpy(),
                "split": chosen["split"].map({"test": 0, "val": 1, "train": 2}).to_numpy(),
            }
        )
        positions = positions[order.sort_values(["split", "repeat"], kind="stable").index]
    return positions[:number]
