"""Draw images that the judges are tried out on: noise, and copies planted among training images."""

from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import whole_file
from workflow_scripts.common.findings import single_finding
from workflow_scripts.common.levels import grey
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import CONTROLS, IMAGES
from workflow_scripts.common.seeds import generator
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.metrics.copies import reach

COPIES = 16  # of each class, where it has as many training images
CONTRAST, BRIGHTNESS, GRAIN = 0.03, 3.0, 1.0  # share, grey levels of 8 bits, likewise
FLAT = 10.0  # grey levels of 8 bits, the least standard deviation of an image that is copied


def draw_controls(images: Path, shards: list[Path], seed: int, noise: Path, planted: Path) -> None:
    """Write `noise` and `planted`, each with a table CONTROLS beside it.

    They have the channels and bits of the images that they stand for. There are as many images of noise as there are test images of a single finding, and jittered
    copies of COPIES training images of a single finding of each class.

    Parameters
    ----------
    images : table IMAGES
    shards : its images
    seed : of all that is drawn
    noise, planted : `.npy` files; the tables have the suffix `.parquet`
    """
    table = read_table(images, IMAGES)
    store = ImageStore(table, shards)
    single = single_finding(table)
    unseen = int((single & (table["split"] == "test")).sum())
    sources = chosen(table[single & (table["split"] == "train")], store, seed)
    if not (unseen and len(sources)):
        raise InputError(
            f"{images} has no test or no training images of a single finding: there is nothing to "
            "judge by. Give `cohort.classes` that are in the data, or larger splits."
        )
    ids = table["image_id"].to_numpy()[sources]
    copies = [
        jittered(image, generator(seed, "planted", name))
        for image, name in zip(store.gather(sources), ids, strict=True)
    ]
    write(planted, np.stack(copies), table["class_name"].to_numpy()[sources], ids)
    shape, kind = copies[0].shape, copies[0].dtype
    write(noise, uniform(unseen, shape, kind, generator(seed, "noise")), None, None)


def chosen(table: pd.DataFrame, store: ImageStore, seed: int) -> np.ndarray:
    """Return the index of COPIES rows of each class, or of all that it has, class by class.

    Images that show next to nothing (see FLAT) are copied only where a class has no others: by
    their noise no search could tell them apart.
    """
    picked = []
    for (_, name), own in table.groupby(["class_id", "class_name"]):
        order = generator(seed, "copied", name).permutation(own.index.to_numpy())
        plain = (row for row in order if grey(store.gather([row])).std() >= FLAT)
        rows = list(islice(plain, COPIES)) or order[:COPIES]
        picked.append(np.sort(rows))
    return np.concatenate(picked) if picked else np.empty(0, dtype=np.int64)


def jittered(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a copy that a person would call the same image, in its shape and kind.

    Shifted along each axis by up to a 64th of the width, at least a pixel (edges are repeated),
    contrast and brightness a little changed, of all channels alike, and Gaussian noise.

    Parameters
    ----------
    image : uint8 or uint16, (height, width) or (height, width, channels)
    """
    height, width = image.shape[:2]
    top = np.iinfo(image.dtype).max
    level = top / 255
    shift = reach(width)
    y, x = rng.integers(0, 2 * shift + 1, 2)
    around = [(shift, shift)] * 2 + [(0, 0)] * (image.ndim - 2)
    copy = np.pad(image.astype(np.float64), around, mode="edge")[y : y + height, x : x + width]
    contrast = 1 + rng.uniform(-CONTRAST, CONTRAST)
    brightness = rng.uniform(-BRIGHTNESS, BRIGHTNESS) * level
    copy = copy.mean() + contrast * (copy - copy.mean()) + brightness
    copy += rng.normal(0, GRAIN, copy.shape) * level
    return copy.round().clip(0, top).astype(image.dtype)


def uniform(
    count: int, shape: tuple[int, ...], kind: np.dtype, rng: np.random.Generator
) -> np.ndarray:
    """Return images of a shape whose every value is uniform over all that their kind can hold."""
    return rng.integers(0, np.iinfo(kind).max, (count, *shape), dtype=kind, endpoint=True)


def write(
    path: Path, images: np.ndarray, classes: np.ndarray | None, sources: np.ndarray | None
) -> None:
    """Write images and, beside them, the table that says where each is and what it is of."""
    count = len(images)
    index = pd.DataFrame(
        {
            "image_id": [f"{path.stem}/{number:04d}" for number in range(count)],
            "shard": path.stem,
            "row": np.arange(count),
            "class_name": pd.Series(classes, index=range(count), dtype="str"),
            "source_image_id": pd.Series(sources, index=range(count), dtype="str"),
        }
    )
    with whole_file(path) as partial:
        np.save(partial, images)
    write_table(index, path.with_suffix(".parquet"), CONTROLS)


if __name__ == "__main__":
    with step(snakemake) as config:
        draw_controls(
            images=Path(snakemake.input.images),
            shards=[Path(path) for path in snakemake.input.shards],
            seed=config["seed"],
            noise=Path(snakemake.output.noise),
            planted=Path(snakemake.output.planted),
        )
