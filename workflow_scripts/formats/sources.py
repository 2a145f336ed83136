"""The images of a data set of any kind, one by one, at the resolution that they come in.

Whatever reads images, to reduce them or to cut patches out of them, reads them here.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import DATA_FILES, FILES, LISTING
from workflow_scripts.common.tables import read_table
from workflow_scripts.formats.archives import Found, archive_images, folder_images
from workflow_scripts.formats.decoding import decode
from workflow_scripts.formats.images import Image, Unreadable, window


def images_of(source: Mapping[str, Any], part: str, inputs: Mapping[str, Any]) -> Iterator[Image]:
    """Yield the images of one archive of a data set, or of one part of its files.

    Parameters
    ----------
    source : `kind` of the data set and `channels` of an image; but of phantom and nih `images`, the
        folder of the files; of nifti `axis`, of hdf5 `array`, the name of the images, and `window`, the
        values that are black and white, or None
    part : the archive, or the part as the table FILES or LISTING names it
    inputs : paths of the job's files by name: `archive` (tar.gz) of the kinds phantom and nih, `files`
        (FILES) of folder and dicom, `listing` (LISTING) of the others, and of hdf5 and idx `data`
        (DATA_FILES)

    Raises
    ------
    InputError
        If a file of many images cannot be trusted or read. What cannot be used of single images is
        said in their place.
    """
    kind = source["kind"]
    if kind in ("phantom", "nih"):
        yield from decoded(archive_images(inputs["archive"]), source["channels"])
    elif kind in ("folder", "dicom"):
        names = of_part(inputs["files"], part, FILES)["image_id"]
        files = folder_images((name, str(Path(source["images"], name))) for name in names)
        yield from decoded(files, source["channels"])
    # Each imported where it is needed: archives of PNGs need none of these libraries.
    elif kind == "nifti":
        from workflow_scripts.formats.nifti import slices

        yield from slices(of_part(inputs["listing"], part), source["images"], source["axis"])
    else:
        files = read_table(inputs["data"], DATA_FILES).set_index("file")
        for name, rows in of_part(inputs["listing"], part).groupby("file", sort=False):
            path = Path(source["images"], name)
            if path.stat().st_size != files.at[name, "bytes"]:
                raise InputError(f"{path} was changed while it was read. Run again.")
            if kind == "hdf5":
                yield from array_images(path, rows, source["array"], source["window"])
            else:
                yield from idx_images(path, rows)


def of_part(table: str | Path, part: str, schema: Any = LISTING) -> pd.DataFrame:
    """Return the rows of a table that are dealt out to a part."""
    rows = read_table(table, schema)
    return rows[rows["part"] == part]


def array_images(
    path: str | Path, rows: pd.DataFrame, name: str, limits: tuple[float, float] | None
) -> Iterator[Image]:
    """Yield the images of rows of LISTING that are rows of an array in an HDF5 file."""
    from workflow_scripts.formats import hdf5

    with hdf5.open_file(path) as file:
        array = hdf5.array_of(file, name)
        positions = rows["position"].to_numpy()
        if positions[-1] >= len(array):
            raise InputError(f"{path}: {name} has no row {positions[-1]} any more. Run again.")
        ids = dict(zip(positions, rows["image_id"], strict=True))
        for position, values in enumerate(
            hdf5.rows(array, positions[0], positions[-1] + 1), start=positions[0]
        ):
            if position in ids:
                place = f"{Path(path).name}, row {position} of {name}"
                pixels = levels(
                    values.reshape(values.shape[:2]) if values.shape[2:] == (1,) else values, limits
                )
                yield Image(ids[position], place, pixels, str(values.dtype))


def levels(values: np.ndarray, limits: tuple[float, float] | None) -> np.ndarray | Unreadable:
    """Return stored values as grey levels: by `limits`, or uint8 as they are and uint16 over its range."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return Unreadable("values that are no number (NaN or infinite)")
    if limits is not None:
        return window(values, *limits)
    return values if values.dtype == np.uint8 else values / np.float32(257)


def idx_images(path: str | Path, rows: pd.DataFrame) -> Iterator[Image]:
    """Yield the images of rows of LISTING that are rows of an IDX file."""
    from workflow_scripts.formats import idx

    ids = dict(zip(rows["position"], rows["image_id"], strict=True))
    with idx.open_array(path, dimensions=3) as array:
        if max(ids) >= array.shape[0]:
            raise InputError(f"{path} has no row {max(ids)} any more. Run again.")
        for position, pixels in enumerate(array.rows()):
            if position in ids:
                yield Image(ids[position], f"{Path(path).name}, row {position}", pixels, "uint8")


def decoded(files: Iterable[Found], channels: int = 1) -> Iterator[Image]:
    """Yield each file as an image of so many channels, 1 or 3."""
    for file in files:
        pixels, mode = file.content, ""
        if not isinstance(pixels, Unreadable):
            try:
                pixels, mode = decode(pixels, channels)
            except Unreadable as reason:
                pixels = reason
        yield Image(file.image_id, file.name, pixels, mode)
