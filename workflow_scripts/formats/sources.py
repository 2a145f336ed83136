"""The images of a data set of any kind, one by one, at the resolution that they come in.

Whatever reads images, to reduce them or to cut patches out of them, reads them here.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.common.schemas import FILES
from workflow_scripts.common.tables import read_table
from workflow_scripts.formats.archives import Found, archive_images, folder_images
from workflow_scripts.formats.decoding import decode
from workflow_scripts.formats.images import Image, Unreadable


def images_of(source: Mapping[str, Any], part: str, inputs: Mapping[str, Any]) -> Iterator[Image]:
    """Yield the images of one archive of a data set, or of one part of its files.

    Parameters
    ----------
    source : `kind` of the data set, `channels` of an image (1 or 3), and for the kinds folder and
        dicom `images`, the folder of the files
    part : the archive, or the part as the table FILES names it
    inputs : paths of the job's files by name: `archive` (tar.gz) of the kinds phantom and nih, `files`
        (FILES) of folder and dicom

    Raises
    ------
    InputError
        If an archive cannot be trusted or read. What cannot be used of single images is said in
        their place.
    """
    if source["kind"] in ("folder", "dicom"):
        files = read_table(inputs["files"], FILES)
        names = files.loc[files["part"] == part, "image_id"]
        found = folder_images((name, str(Path(source["images"], name))) for name in names)
    else:
        found = archive_images(inputs["archive"])
    return decoded(found, source["channels"])


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
