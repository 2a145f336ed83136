"""Write the patches of all splits into one HDF5 file, to hand on."""

from pathlib import Path

import h5py
import numpy as np

from workflow_scripts.common.files import whole_file
from workflow_scripts.common.runtime import log, progress, step
from workflow_scripts.common.schemas import IMAGES, PATCH_INDEX, SPLITS
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table
from workflow_scripts.denoising.judged import unit
from workflow_scripts.denoising.noisy import noisy
from workflow_scripts.denoising.restored import TEXT

BLOCK = 256  # patches in memory at a time
DEGRADED = ("val", "test")  # a training draws noise of its own, anew each time


def export_patches(
    images: Path, patches: Path, shards: list[Path], exported: Path, settings: dict
) -> None:
    """Write a group per split: `clean` as stored, what each patch is, and of validation and test `noisy`.

    `clean` is (n, h, w) or (n, h, w, c) of uint8 or uint16; `noisy` float32 (levels, n, h, w) or with
    channels, in units in which clean patches span [0, 1], the very ones that methods are judged on.
    Beside them `patch_id`, `image_id`, `patient_id`, `top` and `left` of each patch; the file's
    attributes are the noise's kind and variances.

    Parameters
    ----------
    images, patches : tables IMAGES and PATCH_INDEX of the patches
    shards : the store's shards
    settings : configuration section `noise` of a denoising study
    """
    table = read_table(images, IMAGES)
    places = read_table(patches, PATCH_INDEX)[["image_id", "source_image_id", "top", "left"]]
    table = table.merge(places, on="image_id", validate="one_to_one")
    variances = sorted(settings["variances"])
    with whole_file(exported) as partial, h5py.File(partial, "w", locking=False) as file:
        file.attrs["noise"] = settings["kind"]
        file.attrs["variances"] = variances
        for split in SPLITS:
            rows = table[table["split"] == split].reset_index(drop=True)
            store, group = ImageStore(rows, shards), file.create_group(split)
            group.create_dataset("patch_id", data=rows["image_id"].tolist(), dtype=TEXT)
            group.create_dataset("image_id", data=rows["source_image_id"].tolist(), dtype=TEXT)
            group.create_dataset("patient_id", data=rows["patient_id"].tolist(), dtype=TEXT)
            for name in ("top", "left"):
                group.create_dataset(name, data=rows[name].to_numpy(dtype=np.int64))
            first = store.gather(np.arange(1))
            shape = (len(rows), *first.shape[1:])
            clean = group.create_dataset("clean", shape, first.dtype)
            degraded = None
            if split in DEGRADED:
                degraded = group.create_dataset("noisy", (len(variances), *shape), np.float32)
            for start in progress(range(0, len(rows), BLOCK), split, unit="block"):
                here = np.arange(start, min(start + BLOCK, len(rows)))
                stored = store.gather(here)
                clean[start : start + len(here)] = stored
                if degraded is not None:
                    names = rows["image_id"].iloc[here].tolist()
                    for level, variance in enumerate(variances):
                        degraded[level, start : start + len(here)] = noisy(
                            unit(stored), names, settings, variance
                        )
            log.info("%s: %d patches", split, len(rows))


if __name__ == "__main__":
    with step(snakemake) as config:
        export_patches(
            Path(snakemake.input.images),
            Path(snakemake.input.patches),
            [Path(path) for path in snakemake.input.shards],
            Path(snakemake.output.exported),
            config["noise"],
        )
