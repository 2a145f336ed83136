"""The bytes of files, read once: a hash of each file, and of each image in a shard."""

import hashlib
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.runtime import progress_interval
from workflow_scripts.common.store import open_array

CHUNK = 1 << 22  # bytes read at a time


@dataclass(frozen=True)
class Hashed:
    """What was read of a file: its length, its SHA-256 and, of a shard, those of its images.

    `blank` are the rows of images of one grey level or colour: they show nothing, and may well come
    twice.
    """

    bytes: int
    sha256: str
    images: list[bytes] | None = None
    blank: frozenset[int] = frozenset()


@dataclass
class Hashes:
    """Every file that was read, by path, why others could not be, and how long that took."""

    files: dict[str, Hashed] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def bytes(self) -> int:
        return sum(one.bytes for one in self.files.values())


def hash_files(paths: Iterable[str], threads: int) -> Hashes:
    """Read and hash files, several at a time, with a progress line; a file that is gone is left out."""
    sizes = {path: Path(path).stat().st_size for path in paths if stands(path)}
    # The largest first, so that none is left alone at the end.
    order = sorted(sizes, key=lambda path: (-sizes[path], path))
    found, began = Hashes(), time.monotonic()

    def read(path: str) -> Hashed | None:
        try:
            return hash_file(path, line)
        except OSError as error:
            found.unreadable[path] = f"cannot be read ({error.strerror})"
            return None

    with (
        tqdm(
            total=sum(sizes.values()),
            desc="hashing",
            unit="B",
            unit_scale=True,
            mininterval=progress_interval(),
            delay=2.0,
        ) as line,
        ThreadPoolExecutor(threads) as pool,
    ):
        hashes = dict(zip(order, pool.map(read, order), strict=True))
    found.files = {path: one for path, one in hashes.items() if one is not None}
    found.seconds = time.monotonic() - began
    return found


def stands(path: str) -> bool:
    """Whether there is such a file; a name that no file can have is that of none."""
    try:
        return Path(path).is_file()
    except OSError:
        return False


def hash_file(path: str, line: tqdm | None = None) -> Hashed:
    """Read a file once: hash it, and each image of it if it is a shard."""
    whole, size = hashlib.sha256(), 0
    start, image, pixel = shard_layout(path)
    images: list[bytes] = []
    blank: list[int] = []
    with Path(path).open("rb") as stream:
        chunk = stream.read(start)
        step = CHUNK if not image else max(1, CHUNK // image) * image
        while chunk:
            whole.update(chunk)
            size += len(chunk)
            if image and size > start:
                count = len(chunk) // image
                rows = np.frombuffer(chunk, np.uint8, count * image).reshape(count, image)
                blank += (len(images) + flat(rows, pixel)).tolist()
                images += [hashlib.sha256(row).digest() for row in rows]
            if line is not None:
                line.update(len(chunk))
            chunk = stream.read(step)
    return Hashed(size, whole.hexdigest(), images if image else None, frozenset(blank))


def shard_layout(path: str) -> tuple[int, int, int]:
    """Return where the images of a shard begin, and the bytes of each and of each of its pixels.

    Of what is no shard, CHUNK, 0 and 0.
    """
    if Path(path).suffix == ".npy":
        try:
            array = open_array(path)
        except InputError:
            return CHUNK, 0, 0  # damaged: its hash will say so
        if array.dtype in (np.uint8, np.uint16) and array.ndim in (3, 4) and array.size:
            return array.offset, array[0].nbytes, array[0, 0, 0].nbytes
    return CHUNK, 0, 0


def flat(rows: np.ndarray, pixel: int) -> np.ndarray:
    """Return which images show one pixel all over: of bytes, uint8 (n, pixels * pixel), int64 (m,)."""
    x = rows.reshape(len(rows), -1, pixel)
    some = np.linspace(0, x.shape[1] - 1, 16, dtype=np.int64)
    chosen = np.flatnonzero((x[:, some] == x[:, :1]).all(axis=(1, 2)))  # few, as a rule
    return chosen[(x[chosen] == x[chosen, :1]).all(axis=(1, 2))]
