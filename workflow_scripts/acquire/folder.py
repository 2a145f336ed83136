"""What a folder of image files holds."""

import hashlib
import os
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from workflow_scripts.common.errors import InputError

# DICOM files often have no suffix at all.
SUFFIXES = {
    "folder": {".png", ".jpg", ".jpeg"},
    "dicom": {".dcm", ".dicom", ""},
    "nifti": {".nii", ".nii.gz"},
}
NOT_IMAGES = {"DICOMDIR", "README", "LICENSE"}
# Control characters, and what stands for bytes that are not UTF-8.
NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class File(NamedTuple):
    """One file: path below the folder with '/', length in bytes, time of change in ns."""

    image_id: str
    bytes: int
    changed: int


def listing(folder: str | Path, kind: str) -> list[File]:
    """Return the image files below `folder`, sorted by their path.

    Hidden files and folders are passed over, and so are links to folders, which may run in
    circles, and links to nothing. `kind` is "folder" (PNG, JPEG), "dicom" or "nifti".

    Raises
    ------
    InputError
        If there is no such folder, or the name of a file holds control characters or is not in
        UTF-8, so that no table could hold it.
    """
    folder, key = Path(folder), f"dataset.{'nifti' if kind == 'nifti' else 'folder'}.images"
    if not folder.is_dir():
        raise InputError(f"{key}: there is no folder {folder}")
    files = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(place, name)
            if (
                suffix(name) in SUFFIXES[kind]
                and name not in NOT_IMAGES
                and not name.startswith(".")
                and path.is_file()
            ):
                state = path.stat()
                relative = path.relative_to(folder).as_posix()
                if NO_TEXT.search(relative):
                    raise InputError(
                        f"{key}: {folder} holds a file whose name is no plain text: {relative!a}. "
                        "Rename it."
                    )
                files.append(File(relative, state.st_size, state.st_mtime_ns))
    return sorted(files)


def suffix(name: str) -> str:
    """Return the suffix of a file's name in lower case, with what stands before .gz."""
    path = Path(name.lower())
    return "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix


@cache
def digest(folder: str | Path, kind: str) -> str:
    """Return a hash that changes when an image is added, removed or edited."""
    return hashlib.sha256(repr(listing(folder, kind)).encode()).hexdigest()[:16]
