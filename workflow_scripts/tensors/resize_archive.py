"""Decode the images of one archive, reduce them, keep them as one shard with its index."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.levels import DEPTHS
from workflow_scripts.common.runtime import log, progress, step
from workflow_scripts.common.schemas import REJECTS, SHARD_INDEX
from workflow_scripts.common.store import growing_array
from workflow_scripts.common.tables import write_table
from workflow_scripts.formats.images import Image, Unreadable
from workflow_scripts.formats.sources import images_of
from workflow_scripts.tensors.reduction import reduce
from workflow_scripts.tensors.rejects import SHOWN, refuse_excess


def resize_archive(
    name: str,
    images: Iterable[Image],
    size: int,
    max_rejects: int,
    shard: str | Path,
    index: str | Path,
    rejects: str | Path,
    channels: int = 1,
    bits: int = 8,
) -> None:
    """Write a shard, its SHARD_INDEX, and the REJECTS.

    The shard is (rows, size, size), of several channels (rows, size, size, channels): uint8, or with
    16 bits uint16.

    One image is in memory at a time. The SHA-256 of the index is that of a row's bytes; width,
    height and mode are those before the reduction.

    Parameters
    ----------
    name : of the archive, which becomes the shard's
    images : from `images_of`
    size : width and height in pixels
    max_rejects : unreadable images to tolerate
    channels, bits : of an image as it is kept; bits 8 or 16

    Raises
    ------
    InputError
        If more files are unreadable, or no file is readable. Nothing is written then.
    """
    rows, rejected, seen = [], [], {}
    shape = (size, size) if channels == 1 else (size, size, channels)
    with growing_array(shard, shape, DEPTHS[bits][0]) as append:
        for image in progress(images, f"decoding {name}"):
            pixels = image.pixels
            if image.image_id in seen:
                before = seen[image.image_id]
                pixels = Unreadable(f"the archive has this image already, as {before}")
            if isinstance(pixels, Unreadable):
                log.warning("%s: %s: %s", name, image.name, pixels)
                rejected.append((name, image.name, image.image_id, str(pixels)))
                if len(rejected) == max_rejects + SHOWN:
                    break
                continue
            small = reduce(pixels, size, bits, image.aspect)
            append(small)
            height, width = pixels.shape[:2]
            digest = hashlib.sha256(small).hexdigest()
            rows.append((image.image_id, name, len(rows), digest, width, height, image.mode))
            seen[image.image_id] = image.name
        refuse_excess(name, rejected, max_rejects)
        if not rows:
            raise InputError(f"{name} holds no image that can be read")
    write_table(pd.DataFrame(rows, columns=list(SHARD_INDEX.columns)), index, SHARD_INDEX)
    write_table(pd.DataFrame(rejected, columns=list(REJECTS.columns), dtype=str), rejects, REJECTS)
    log.info("%s: %d images, %d rejected", name, len(rows), len(rejected))


if __name__ == "__main__":
    with step(snakemake) as config:
        if config is not None:  # not in the cache
            part = snakemake.wildcards.archive
            resize_archive(
                part,
                images_of(config["source"], part, dict(snakemake.input.items())),
                config["size"],
                config["max_rejects"],
                snakemake.output.shard,
                snakemake.output.index,
                snakemake.output.rejects,
                config["source"]["channels"],
                config["bits"],
            )
