"""Decode the images of one archive, reduce them, keep them as one uint8 shard with its index."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import whole_file
from workflow_scripts.common.runtime import log, progress, step
from workflow_scripts.common.schemas import FILES, REJECTS, SHARD_INDEX
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.formats.archives import Found, Unreadable, archive_images, folder_images
from workflow_scripts.formats.decoding import decode
from workflow_scripts.tensors.reduction import reduce
from workflow_scripts.tensors.rejects import SHOWN, refuse_excess


def resize_archive(
    name: str,
    images: Iterable[Found],
    size: int,
    max_rejects: int,
    shard: str | Path,
    index: str | Path,
    rejects: str | Path,
) -> None:
    """Write a shard (rows, size, size) of uint8, its SHARD_INDEX, and the REJECTS.

    One image is in memory at a time. The SHA-256 of the index is that of a row's bytes; width,
    height and mode are those before the reduction.

    Parameters
    ----------
    name : of the archive, which becomes the shard's
    images : from `archive_images` or `images_of_part`
    size : width and height in pixels
    max_rejects : unreadable files to tolerate

    Raises
    ------
    InputError
        If more files are unreadable, or no file is readable. Nothing is written then.
    """
    rows, rejected, seen = [], [], {}
    with growing_array(shard, size) as append:
        for found in progress(images, f"decoding {name}"):
            try:
                if found.image_id in seen:
                    raise Unreadable(
                        f"the archive has this image already, as {seen[found.image_id]}"
                    )
                if isinstance(found.content, Unreadable):
                    raise found.content
                pixels, mode = decode(found.content)
            except Unreadable as reason:
                log.warning("%s: %s: %s", name, found.name, reason)
                rejected.append((name, found.name, found.image_id, str(reason)))
                if len(rejected) == max_rejects + SHOWN:
                    break
                continue
            small = reduce(pixels, size)
            append(small)
            height, width = pixels.shape
            digest = hashlib.sha256(small).hexdigest()
            rows.append((found.image_id, name, len(rows), digest, width, height, mode))
            seen[found.image_id] = found.name
        refuse_excess(name, rejected, max_rejects)
        if not rows:
            raise InputError(f"{name} holds no image that can be read")
    write_table(pd.DataFrame(rows, columns=list(SHARD_INDEX.columns)), index, SHARD_INDEX)
    write_table(pd.DataFrame(rejected, columns=list(REJECTS.columns), dtype=str), rejects, REJECTS)
    log.info("%s: %d images, %d rejected", name, len(rows), len(rejected))


def images_of_part(files: pd.DataFrame, part: str, folder: str | Path) -> Iterator[Found]:
    """Yield the images below `folder` that the table FILES deals out to `part`."""
    chosen = files.loc[files["part"] == part, "image_id"]
    return folder_images((image_id, str(Path(folder, image_id))) for image_id in chosen)


@contextmanager
def growing_array(path: str | Path, size: int) -> Iterator[Callable[[np.ndarray], None]]:
    """Yield a function that appends an image (size, size) of uint8 to the `.npy` file at `path`."""
    count = 0
    with whole_file(path) as partial, partial.open("wb") as stream:

        def write_header() -> int:
            # NumPy leaves room in the header for a first dimension that grows.
            shape = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size)}
            stream.seek(0)
            np.lib.format.write_array_header_1_0(stream, shape)
            return stream.tell()

        def append(image: np.ndarray) -> None:
            nonlocal count
            stream.write(np.ascontiguousarray(image).data)
            count += 1

        start = write_header()
        yield append
        if write_header() != start:
            raise AssertionError("the header of the array has outgrown its room")


if __name__ == "__main__":
    with step(snakemake) as config:
        if config is not None:  # not in the cache
            part = snakemake.wildcards.archive
            if config["kind"] in ("folder", "dicom"):
                files = read_table(snakemake.input.files, FILES)
                source = images_of_part(files, part, config["images"])
            else:
                source = archive_images(snakemake.input.archive)
            resize_archive(
                part,
                source,
                config["size"],
                config["max_rejects"],
                snakemake.output.shard,
                snakemake.output.index,
                snakemake.output.rejects,
            )
