"""A small data set on disk, and synthetic images that are as good or as bad as a test asks for."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.schemas import IMAGES, SAMPLES
from workflow_scripts.common.tables import write_table

CLASSES = ["No Finding", "Cardiomegaly"]
COUNTS = {"train": 40, "val": 24, "test": 22}  # images per class
PER_CLASS = 24  # synthetic


@dataclass(frozen=True)
class Files:
    """Where the tables and the shards are."""

    images: Path
    shards: list[Path]
    samples: Path
    sample_shards: list[Path]


def radii(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a radius for each film: wide in class 1 and narrow in class 0."""
    return np.where(labels, 10, 5) + rng.normal(0, 1, len(labels))


def films(radius: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw noise with a disc, uint8 (n, 32, 32)."""
    y, x = np.mgrid[:32, :32]
    disc = (x - 16) ** 2 + (y - 16) ** 2 < np.square(radius)[:, None, None]
    noise = rng.normal(0, 15, (len(radius), 32, 32))
    return (90 + 60 * disc + noise).clip(0, 255).astype(np.uint8)


def write_real(folder: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Write real images of four films to a patient, and return their table and their radii."""
    rng = np.random.default_rng(0)
    split = np.concatenate([np.repeat(name, 2 * count) for name, count in COUNTS.items()])
    labels = np.arange(len(split)) % 2
    radius = radii(labels, rng)
    np.save(folder / "part.npy", films(radius, rng))
    images = pd.DataFrame(
        {
            "image_id": [f"{number:04d}" for number in range(len(split))],
            "patient_id": [f"p{number // 4}" for number in range(len(split))],
            "class_id": labels,
            "class_name": np.array(CLASSES)[labels],
            "findings": np.array(CLASSES)[labels],
            "age_years": 50.0,
            "sex": "F",
            "view": "PA",
            "split": split,
            "shard": "part",
            "row": np.arange(len(split)),
        }
    )
    write_table(images, folder / "images.parquet", IMAGES)
    return images, radius


def write_samples(folder: Path, drawn: np.ndarray) -> pd.DataFrame:
    """Write synthetic images, `PER_CLASS` of each class in turn, and return their table."""
    folder.mkdir(exist_ok=True)
    parts = []
    for number, name in enumerate(CLASSES):
        stem = f"{name.lower().replace(' ', '_')}_000"
        np.save(folder / f"{stem}.npy", drawn[number * PER_CLASS : (number + 1) * PER_CLASS])
        part = {
            "image_id": [f"{stem}_{row:03d}" for row in range(PER_CLASS)],
            "shard": stem,
            "row": np.arange(PER_CLASS),
            "class_id": number,
            "class_name": name,
            "seed": np.arange(PER_CLASS),
        }
        parts.append(pd.DataFrame(part))
    table = pd.concat(parts).sort_values("image_id", ignore_index=True)
    write_table(table, folder / "samples.parquet", SAMPLES)
    return table


def good_samples(seed: int = 5) -> np.ndarray:
    """Draw synthetic images as the real ones are drawn, class by class."""
    rng = np.random.default_rng(seed)
    return films(radii(np.repeat([0, 1], PER_CLASS), rng), rng)


def files(real: Path, synthetic: Path) -> Files:
    """Return what the two functions above wrote."""
    shards = sorted(synthetic.glob("*_000.npy"))
    return Files(
        real / "images.parquet", [real / "part.npy"], synthetic / "samples.parquet", shards
    )
