"""Put real and synthetic images before readers who do not know which is which."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import write_text
from workflow_scripts.common.findings import single_finding
from workflow_scripts.common.fingerprint import ROOT
from workflow_scripts.common.levels import shown
from workflow_scripts.common.runtime import log, step
from workflow_scripts.common.schemas import IMAGES, READER_KEY, SAMPLES
from workflow_scripts.common.seeds import generator
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.common.wording import pixel_words
from workflow_scripts.readers.page import page, png, study_id


def make_reader_study(
    images_path: Path,
    shards: list[Path],
    samples_path: Path,
    sample_shards: list[Path],
    resources: Path,
    page_path: Path,
    key_path: Path,
    classes: list[str],
    per_class: int,
    seed: int,
    phantom: bool,
) -> None:
    """Write the page that readers get (HTML) and the key that they do not (READER_KEY).

    Parameters
    ----------
    images_path, shards : table IMAGES and its `.npy` files; test images are taken
    samples_path, sample_shards : table SAMPLES and its files
    resources : folder of the page's template, style and script
    per_class : real images of each class, and synthetic ones, as far as there are
    phantom : whether the films are drawn ones, which the page then says

    Raises
    ------
    InputError
        If a class has no image of either kind, or the two kinds differ in size or channels.
    """
    images, samples = read_table(images_path, IMAGES), read_table(samples_path, SAMPLES)
    real, synthetic = chosen(images, samples, classes, per_class, seed)
    stores = ImageStore(real, shards), ImageStore(synthetic, sample_shards)
    real_kind, own_kind = (
        f"{store.size} pixels, {pixel_words(store.channels, store.bits)}" for store in stores
    )
    if real_kind != own_kind:
        raise InputError(
            f"{samples_path}: synthetic images have {own_kind}, real ones {real_kind}: that would "
            "tell them apart. Draw the samples anew."
        )
    pixels = shown(np.concatenate([store.all() for store in stores]))
    table = pd.concat([real.assign(synthetic=False), synthetic.assign(synthetic=True)])

    order = shuffled(pixels, seed)
    pngs = [png(image) for image in pixels[order]]
    key = table.iloc[order][["image_id", "class_name", "synthetic"]]
    key.insert(0, "study", study_id(pngs, classes))
    key.insert(1, "item", [f"image-{number:03d}" for number in range(1, len(key) + 1)])
    write_table(key, key_path, READER_KEY)
    write_text(
        page_path, page(resources, key["study"].iloc[0], key["item"], pngs, classes, phantom)
    )


def chosen(
    images: pd.DataFrame, samples: pd.DataFrame, classes: list[str], per_class: int, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw as many real as synthetic images of each class, without replacement.

    Real ones are test images of a single finding, and of a patient one at most: whoever meets the
    same subject twice knows that it is real. Rare classes choose their patients first, and leave
    to the others those that they do not need: slices of a volume may show every class.

    Returns
    -------
    Rows of `images` and of `samples`, equally many of each class.
    """
    real = images[(images["split"] == "test") & single_finding(images)]
    real = real.iloc[generator(seed, "reader study", "real").permutation(len(real))]
    synthetic = samples.iloc[generator(seed, "reader study", "synthetic").permutation(len(samples))]
    common = real["class_name"].value_counts()
    parts = {}
    for name in sorted(classes, key=lambda name: common.get(name, 0)):
        of_class = [table[table["class_name"] == name] for table in (real, synthetic)]
        of_class[0] = of_class[0].drop_duplicates("patient_id")
        count = min(per_class, *map(len, of_class))
        if count == 0:
            kind = "real test" if of_class[0].empty else "synthetic"
            raise InputError(
                f"no {kind} image of {name}: a reader study needs both kinds of each class, and "
                "shows of a subject one real image at most"
            )
        if count < per_class:
            log.warning(
                "%s: %d images of each kind, not %d: there are %d test patients and %d synthetic "
                "images", name, count, per_class, *map(len, of_class),
            )  # fmt: skip
        parts[name] = [table.iloc[:count] for table in of_class]
        real = real[~real["patient_id"].isin(parts[name][0]["patient_id"])]
    pairs = zip(*(parts[name] for name in classes), strict=True)
    return tuple(pd.concat(tables, ignore_index=True) for tables in pairs)


def shuffled(pixels: np.ndarray, seed: int) -> np.ndarray:
    """Return the order in which images are shown: int64 (n,), a permutation.

    The pixels, real ones first, are part of the seed: from the configuration, this code and the
    page alone nobody can work the order out. Who has the images themselves can, and may as well
    look them up.

    Parameters
    ----------
    pixels : uint8 (n, height, width) or (n, height, width, 3)
    """
    digest = hashlib.sha256(np.ascontiguousarray(pixels)).hexdigest()
    return generator(seed, "reader study", "order", digest).permutation(len(pixels))


if __name__ == "__main__":
    with step(snakemake) as config:
        make_reader_study(
            Path(snakemake.input.images),
            [Path(path) for path in snakemake.input.shards],
            Path(snakemake.input.samples),
            [Path(path) for path in snakemake.input.sample_shards],
            ROOT / "resources" / "readers",
            Path(snakemake.output.page),
            Path(snakemake.output.key),
            **config,
        )
