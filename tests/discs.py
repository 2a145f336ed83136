"""A small data set in colour: discs that are told apart by their colour alone."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from workflow_scripts.common.levels import grey

# Discs of these colours have one luminance (Rec. 601): a step that sees grey sees no class.
COLOURS = {"1": (220, 75, 90), "2": (70, 150, 100), "Tumour": (95, 105, 255)}
GROUND = (186, 176, 170)


def discs(labels: list[str], rng: np.random.Generator, size: int = 24) -> np.ndarray:
    """Draw noise with a disc in the colour of each label: uint8 (n, size, size, 3)."""
    y, x = np.mgrid[:size, :size]
    count = len(labels)
    down, right = rng.uniform(0.35, 0.65, (2, count, 1, 1)) * size
    radius = rng.uniform(0.2, 0.3, (count, 1, 1)) * size
    disc = (y - down) ** 2 + (x - right) ** 2 < radius**2
    colour = np.array([COLOURS[label] for label in labels], dtype=np.float64)
    images = np.where(disc[..., None], colour[:, None, None], GROUND)
    return (images + rng.normal(0, 12, images.shape)).round().clip(0, 255).astype(np.uint8)


def write_discs(folder: Path, count: int, seed: int = 0) -> tuple[Path, Path]:
    """Write PNG files, an image to a subject, and a CSV; return the folder of images and the CSV."""
    rng = np.random.default_rng(seed)
    labels = [list(COLOURS)[number % len(COLOURS)] for number in range(count)]
    images = folder / "discs"
    images.mkdir(parents=True)
    for number, image in enumerate(discs(labels, rng)):
        Image.fromarray(image).save(images / f"{number:04d}.png")
    table = pd.DataFrame({"image": [f"{n:04d}.png" for n in range(count)], "label": labels})
    table["subject"] = [f"s{number}" for number in range(count)]
    table.to_csv(folder / "labels.csv", index=False)
    return images, folder / "labels.csv"


def recoloured(images: np.ndarray) -> np.ndarray:
    """Return images, uint8 (n, h, w, 3), in other colours of the same luminance, level by level.

    A little greener and less blue, 0.587 · 11 ≈ 0.114 · 57, where rounding leaves the grey level.
    """
    other = images.astype(np.int64) + np.array([0, 11, -57])
    fits = ((other >= 0) & (other <= 255)).all(axis=-1)
    other = other.clip(0, 255).astype(np.uint8)
    kept = fits & (grey(other) == grey(images))
    return np.where(kept[..., None], other, images)
