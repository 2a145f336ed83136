"""IDX, the format of MNIST: a magic number, the sizes, and the bytes of one array.

The magic number is two zeros, the type of the values (8: uint8) and the number of dimensions; each
size is a whole number of 32 bits, the greatest byte first. Files may be compressed with gzip.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from workflow_scripts.common.errors import InputError
from workflow_scripts.formats.images import Unreadable, check_size

UINT8 = 8
GZIP = b"\x1f\x8b"


class Array:
    """An open IDX file of uint8: its `shape`, and its rows in their order, each read once.

    Raises
    ------
    InputError
        As `open_array` says.
    """

    def __init__(self, path: str | Path, stream: BinaryIO) -> None:
        self.path, self.stream = Path(path), stream
        with told(self.path):
            zeros, kind, dimensions = struct.unpack(">HBB", self.taken(4))
            if zeros or not 1 <= dimensions <= 3:
                raise InputError("no IDX file: its magic number is another")
            if kind != UINT8:
                raise InputError(f"holds values of type {kind:#04x}; readable is 0x08, uint8")
            self.shape = struct.unpack(f">{dimensions}I", self.taken(4 * dimensions))
            if dimensions == 3:
                try:
                    check_size(*self.shape[:0:-1])
                except Unreadable as reason:
                    raise InputError(f"an image {reason}") from None
            if isinstance(stream, gzip.GzipFile):
                return
            size = 4 + 4 * dimensions + math.prod(self.shape)
            if self.path.stat().st_size != size:
                raise InputError(
                    f"{self.path.stat().st_size:,} bytes, and its header means {size:,}: damaged or "
                    "cut short"
                )

    def taken(self, count: int) -> bytes:
        """Return the next bytes."""
        content = self.stream.read(count)
        if len(content) < count:
            raise InputError("damaged or cut short: it ends too early")
        return content

    def rows(self) -> Iterator[np.ndarray]:
        """Yield each row of the array, uint8 of its shape without the first dimension."""
        for _ in range(self.shape[0]):
            with told(self.path):
                content = self.taken(math.prod(self.shape[1:]))
            yield np.frombuffer(content, np.uint8).reshape(self.shape[1:])
        with told(self.path):
            if self.stream.read(1):  # at the end, gzip compares its checksum
                raise InputError("goes on behind its last row: damaged, or another file")


@contextmanager
def open_array(path: str | Path, dimensions: int) -> Iterator[Array]:
    """Open an IDX file, compressed with gzip or not: 3 `dimensions` of images, 1 of labels.

    Raises
    ------
    InputError
        That names the file, here or when rows are read: if it is no such file, has other values or
        dimensions, or is damaged or cut short.
    """
    with ExitStack() as stack:
        stream = stack.enter_context(Path(path).open("rb"))
        if stream.peek(2)[:2] == GZIP:
            stream = stack.enter_context(gzip.open(stream))
        array = Array(path, stream)
        if len(array.shape) != dimensions:
            what = {1: "labels (1 dimension)", 3: "images (3 dimensions)"}[dimensions]
            raise InputError(
                f"{path}: {len(array.shape)} dimensions; {what} are expected there. Are the files of "
                "images and labels exchanged?"
            )
        yield array


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Put the name of a file into what is said of it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}. Fetch it again, or name another file.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: damaged or cut short ({error}). Fetch it again.") from None
