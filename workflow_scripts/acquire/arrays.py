"""Rows of HDF5 and IDX files as images, with their labels and subjects."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from workflow_scripts.acquire.entries import Entry
from workflow_scripts.acquire.subjects import read_column
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import stem
from workflow_scripts.formats import idx
from workflow_scripts.formats.hdf5 import ADVICE, array_of, check_images, open_file, texts
from workflow_scripts.formats.images import Place

# What else may be meant where labels come without subjects.
ALONE = "; or, if every image is its own subject, set dataset.hdf5.own_subjects to true"


def hdf5_images(
    images: str | Path,
    labels: str | Path,
    subjects: str | Path | None,
    arrays: Mapping[str, str],
    channels: int,
    windowed: bool,
    findings: Mapping[str, str],
) -> list[Entry]:
    """Return the images of one file of images.

    Parameters
    ----------
    images, labels, subjects : files that hold these, HDF5 or, with the suffix .csv, a table; no
        subjects: every image is its own
    arrays : names of the arrays or columns `images`, `labels` and `subjects`
    channels : that an image has
    windowed : whether it is known which values are black and white
    findings : names of the values of labels; one that is not there stands for itself

    Raises
    ------
    InputError
        If a file or an array in it is missing or not what it should be, or they do not fit together.
    """
    with open_file(images) as file:
        array = array_of(file, arrays["images"])
        check_images(array, channels, windowed)
        count = len(array)
    found = [
        values_of(path, arrays[what], count, f"{arrays['images']} of {Path(images).name}", what)
        for what, path in (("labels", labels), ("subjects", subjects))
        if path is not None
    ]
    return entries(stem(images), count, found, findings)


def idx_images(images: str | Path, labels: str | Path, findings: Mapping[str, str]) -> list[Entry]:
    """Return the images of one file of images, each its own subject: the format names none.

    Parameters and errors as of `hdf5_images`.
    """
    with idx.open_array(images, dimensions=3) as array:
        count = sum(1 for _ in array.rows())  # read to its end, where damage shows
    with idx.open_array(labels, dimensions=1) as array:
        values = [str(int(value)) for value in array.rows()]
    refuse_difference(labels, "labels", len(values), Path(images).name, count)
    return entries(stem(images), count, [values], findings)


def entries(
    name: str, count: int, found: Sequence[Sequence[str]], findings: Mapping[str, str]
) -> list[Entry]:
    """Return `count` images called `name`/<number>, of their labels and, if given, their subjects."""
    ids = [f"{name}/{number:06d}" for number in range(count)]
    labels, subjects = found if len(found) == 2 else (*found, ids)
    return [
        Entry(image, subject, findings.get(label, label), [Place(name, number)], image)
        for number, (image, label, subject) in enumerate(zip(ids, labels, subjects, strict=True))
    ]


def values_of(path: str | Path, name: str, count: int, images: str, what: str) -> list[str]:
    """Return an array of one value for each image, or a column of a CSV, as text.

    Parameters
    ----------
    path, name : of the file, and of the array or column in it
    count, images : how many images there are, and what they are called
    what : labels or subjects
    """
    key, advice = f"dataset.hdf5.arrays.{what}", ADVICE + (ALONE if what == "subjects" else "")
    if str(path).lower().endswith((".csv", ".csv.gz")):
        values = read_column(path, name, key, advice)
        refuse_difference(f"{path}, column {name}", what, len(values), images, count)
    else:
        with open_file(path) as file:
            array = array_of(file, name, advice)
            shape = array.shape or (0,)
            refuse_difference(f"{path}, array {name}", what, shape[0], images, count)
            if np.prod(shape[1:]) != 1:
                raise InputError(
                    f"{path}: {name} is {shape}, and one value for each image is expected ({key}); "
                    "store the numbers of the classes, not a column for each"
                )
            values = texts(array)
    empty = [number for number, value in enumerate(values) if not value]
    if empty:
        raise InputError(f"{path}: {name} says nothing in row {empty[0]} and {len(empty) - 1} more")
    return values


def refuse_difference(where: object, what: str, found: int, images: str, count: int) -> None:
    """Refuse other than one value for each image."""
    if found != count:
        raise InputError(
            f"{where}: {found:,} {what} for {count:,} images ({images}). They belong to other files, "
            "or one is cut short."
        )
