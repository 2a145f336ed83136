"""Images as they come: members of a tar.gz stream, or files of a folder.

Nothing is unpacked to disk. An archive is read once from front to back; an archive that tries to
write outside its folder or to fill the memory is refused as a whole, since nothing in it can be
trusted.
"""

import gzip
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.runtime import log
from workflow_scripts.formats.images import Unreadable

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg"}
LARGEST_FILE = 128 << 20  # bytes; a 4000 x 5000 film of 16 bits has 40 million
LARGEST_HEADER = 1 << 20  # bytes of a member's extended header
LARGEST_RATIO = 100  # of what an archive unpacks to; images hardly shrink in gzip
BUFFER = 1 << 16


class Found(NamedTuple):
    """One image file: its id, its name where it was found, and its bytes or why there are none."""

    image_id: str
    name: str
    content: bytes | Unreadable


class Header(tarfile.TarInfo):
    """A tar header that is checked before anything of the size that it declares is read.

    `tarfile` takes a damaged header for the end of the archive; here it is an error.
    """

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> "Header":
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None
        limit = LARGEST_FILE if header.isreg() else LARGEST_HEADER
        if header.size > limit:
            raise InputError(f"member {header.name!r} claims {header.size:,} bytes")
        return header


def archive_images(archive: str | Path) -> Iterator[Found]:
    """Yield the images of a tar.gz; the id of an image is its name without folders.

    Members that are no PNG or JPEG by their names are passed over.

    Raises
    ------
    InputError
        If the archive is damaged or cut short (gzip's checksum is verified at its end), or holds
        what an archive of images never holds: absolute names, `..`, links, devices, sparse files,
        members over 128 MiB, a hundred times its own size of content.
    """
    archive = Path(archive)
    limit = LARGEST_RATIO * archive.stat().st_size + LARGEST_FILE
    last = "its beginning"
    passed_over = []
    try:
        with (
            gzip.open(archive) as stream,
            tarfile.open(
                fileobj=stream,
                mode="r|",
                bufsize=BUFFER,
                tarinfo=Header,
                encoding="utf-8",
                errors="backslashreplace",  # of a name in another encoding, which no table holds
            ) as tar,
        ):
            while member := tar.next():
                tar.members.clear()  # tarfile keeps every header it has seen
                refuse_hostile(member)
                if member.offset_data + member.size > limit:
                    raise InputError(f"unpacks to more than {limit:,} bytes: a decompression bomb")
                name = PurePosixPath(member.name)
                if member.isdir():
                    continue
                if name.suffix.lower() not in IMAGE_SUFFIXES or name.name.startswith("."):
                    passed_over.append(member.name)
                    continue
                if not name.name.isprintable():
                    raise InputError(f"member {member.name!r} has a name that is no text")
                yield Found(name.name, member.name, tar.extractfile(member).read())
                last = member.name
            while stream.read(BUFFER):  # to the end, where gzip compares its checksum
                if stream.tell() > limit:
                    raise InputError(f"unpacks to more than {limit:,} bytes: a decompression bomb")
    except InputError as error:
        raise InputError(
            f"{archive}: {error}. Archives of radiographs do not hold that; nothing of it was used. "
            "Fetch the archive anew from a source that you trust."
        ) from None
    # The last two come from tarfile itself, of headers that no tool writes.
    except (
        tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, ValueError, RecursionError
    ) as error:  # fmt: skip
        raise InputError(
            f"{archive}: damaged or cut short after {last} ({error}). Remove it and fetch it again."
        ) from None
    if passed_over:
        log.info(
            "%s: passed over %d members that are no images: %s",
            archive,
            len(passed_over),
            ", ".join(passed_over[:5]),
        )


def refuse_hostile(member: tarfile.TarInfo) -> None:
    """Raise an `InputError` for a member that an archive of images never holds."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise InputError(f"member {member.name!r} points outside the archive's folder")
    if not (member.isdir() or member.isreg()):
        raise InputError(f"member {member.name!r} is a link or a device")
    if member.issparse() or member.size > LARGEST_FILE:
        raise InputError(f"member {member.name!r} claims {member.size:,} bytes")


def folder_images(files: Iterable[tuple[str, str]]) -> Iterator[Found]:
    """Yield the images of (image_id, path)."""
    for image_id, path in files:
        try:
            size = Path(path).stat().st_size
            content = (
                Path(path).read_bytes()
                if size <= LARGEST_FILE
                else Unreadable(f"{size:,} bytes, more than any radiograph has")
            )
        except OSError as error:
            content = Unreadable(f"cannot be read: {error.strerror}")
        yield Found(image_id, image_id, content)
