"""A small reader study: stand-ins of its inputs, and readers who answer as they are told to."""

from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.schemas import IMAGES, SAMPLES
from workflow_scripts.common.tables import write_table

CLASSES = ["No Finding", "Effusion", "Pneumothorax"]
RESOURCES = Path(__file__).resolve().parents[1] / "resources" / "readers"


def films(count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Sketch chests: uint8 (count, size, size)."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    lungs = np.exp(-(((np.abs(x) - 0.42) / 0.27) ** 4) - ((y + 0.05) / 0.6) ** 4)
    body = np.exp(-((x / 0.95) ** 8))
    heart = np.exp(-(((x - 0.12) / 0.28) ** 4) - ((y - 0.3) / 0.3) ** 4)
    light = 190 * body - 120 * lungs + 70 * heart + rng.normal(0, 8, (count, size, size))
    return np.clip(light + rng.normal(0, 10, (count, 1, 1)), 0, 255).astype(np.uint8)


def study_files(folder: Path, classes: list[str] = CLASSES, each: int = 12, size: int = 16) -> dict:
    """Write what `make_reader_study` reads, `each` images of every kind, and return its arguments.

    Of every class there are test images of `each` patients, two films of each patient; as many of
    several findings; validation images; and synthetic ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    real, synthetic = [], []
    for class_id, name in enumerate(classes):
        about = {"class_id": class_id, "class_name": name}
        for number in range(4 * each):
            patient = f"{name[:3]}-{number // 2:02d}"
            test = number < 3 * each
            real.append(
                {
                    "image_id": f"film_{class_id}_{number:04d}.png",
                    "patient_id": patient,
                    **about,
                    "findings": name if number < 2 * each else f"{name}|{classes[class_id - 1]}",
                    "age_years": 50.0,
                    "sex": "F",
                    "view": "PA",
                    "split": "test" if test else "val",
                    "shard": "archive_real",
                    "row": len(real),
                }
            )
        for number in range(each):
            synthetic.append(
                {
                    "image_id": f"recommended/dpm20/{name}/{number:05d}",
                    "shard": "shard_synthetic",
                    "row": len(synthetic),
                    **about,
                    "seed": number,
                }
            )
    write_table(pd.DataFrame(real), folder / "images.parquet", IMAGES)
    write_table(pd.DataFrame(synthetic), folder / "samples.parquet", SAMPLES)
    np.save(folder / "archive_real.npy", films(len(real), size, rng))
    np.save(folder / "shard_synthetic.npy", films(len(synthetic), size, rng))
    return {
        "images_path": folder / "images.parquet",
        "shards": [folder / "archive_real.npy"],
        "samples_path": folder / "samples.parquet",
        "sample_shards": [folder / "shard_synthetic.npy"],
        "resources": RESOURCES,
    }
