"""The image store: shards in `.npy` files beside an index in parquet.

A shard is an array of uint8, or of uint16 where depth matters, of shape (rows, height, width), and
(rows, height, width, channels) of more channels than one. The index names, for each image, its shard
(a file stem) and its row. Shards are memory-mapped, and read a whole batch at a time.

There may be hundreds of shards of hundreds of megabytes. A table SHARDS lists them with the SHA-256 of
each: a rule depends on that table, so that neither planning nor the comparison of inputs by content
grows with the number of shards times the number of jobs that read them.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.errors import InputError, few
from workflow_scripts.common.files import REMAKE, sha256_of, whole_file
from workflow_scripts.common.levels import bits_of
from workflow_scripts.common.schemas import SHARDS
from workflow_scripts.common.tables import read_table, write_table


class ImageStore:
    """Images of an index, in the order of its rows.

    Parameters
    ----------
    index : DataFrame with the columns `shard` (str) and `row` (int)
    shards : paths of `.npy` files, or of tables SHARDS; a shard's name is the file's stem
    """

    def __init__(self, index: pd.DataFrame, shards: Iterable[str | Path]):
        arrays = {path.stem: open_shard(path) for path in listed(shards)}
        names = sorted(arrays)
        self.arrays = [arrays[name] for name in names]
        if len(kinds := {(array.dtype.name, array.shape[1:]) for array in self.arrays}) > 1:
            found = " and ".join(f"{kind} {shape}" for kind, shape in sorted(kinds))
            raise InputError(
                f"shards of one store hold images of different kinds: {found}. {REMAKE}"
            )
        code = {name: number for number, name in enumerate(names)}
        absent = sorted(set(index["shard"]) - set(names))
        if absent:
            raise KeyError(f"the index names shards that were not given: {', '.join(absent)}")
        self.shard = index["shard"].map(code).to_numpy(dtype=np.int64)
        self.row = index["row"].to_numpy(dtype=np.int64)
        lengths = np.array([len(array) for array in self.arrays], dtype=np.int64)
        if (self.row >= lengths[self.shard]).any():
            raise InputError("the index names rows that its shards do not have. " + REMAKE)

    def __len__(self) -> int:
        return len(self.row)

    @property
    def size(self) -> int:
        """Height, which is also the width, in pixels."""
        return self.arrays[0].shape[1]

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.arrays[0].shape[3] if self.arrays[0].ndim == 4 else 1

    @property
    def bits(self) -> int:
        """Depth of a channel: 8 or 16."""
        return bits_of(self.arrays[0].dtype)

    def gather(self, positions: np.ndarray) -> np.ndarray:
        """Return the images at `positions` of the index, typed and shaped as the shards' rows."""
        positions = np.asarray(positions, dtype=np.int64)
        shard, row = self.shard[positions], self.row[positions]
        first = self.arrays[0]
        images = np.empty((len(positions), *first.shape[1:]), dtype=first.dtype)
        for number, array in enumerate(self.arrays):
            here = np.flatnonzero(shard == number)
            # In the order of the file, so that a spinning or network disk reads forward.
            here = here[np.argsort(row[here], kind="stable")]
            images[here] = array[row[here]]
        return images

    def all(self) -> np.ndarray:
        """Return every image of the index, typed and shaped as the shards' rows."""
        return self.gather(np.arange(len(self)))


@contextmanager
def growing_array(
    path: str | Path, shape: tuple[int, ...], kind: np.dtype
) -> Iterator[Callable[[np.ndarray], None]]:
    """Yield a function that appends an image of one shape and dtype to the `.npy` file at `path`."""
    count = 0
    with whole_file(path) as partial, partial.open("wb") as stream:

        def write_header() -> int:
            # NumPy leaves room in the header for a first dimension that grows.
            header = {"descr": kind.str, "fortran_order": False, "shape": (count, *shape)}
            stream.seek(0)
            np.lib.format.write_array_header_1_0(stream, header)
            return stream.tell()

        def append(image: np.ndarray) -> None:
            nonlocal count
            if image.shape != shape or image.dtype != kind:
                raise AssertionError(f"an image is {image.dtype} {image.shape}, not {kind} {shape}")
            stream.write(np.ascontiguousarray(image).data)
            count += 1

        start = write_header()
        yield append
        if write_header() != start:
            raise AssertionError("the header of the array has outgrown its room")


def list_shards(shards: Iterable[str | Path], table: str | Path) -> None:
    """Write the table SHARDS of `.npy` files that stand beside it or below."""
    folder = Path(table).parent
    rows = [
        (Path(path).relative_to(folder).as_posix(), len(open_shard(path)), sha256_of(path))
        for path in shards
    ]
    write_table(pd.DataFrame(rows, columns=list(SHARDS.columns)), table, SHARDS)


def listed(shards: Iterable[str | Path]) -> list[Path]:
    """Return the paths of `.npy` files among `shards`, and of those that tables SHARDS there list.

    Raises
    ------
    InputError
        If a file of a table is missing.
    """
    paths = []
    for path in map(Path, shards):
        if path.suffix == ".npy":
            paths.append(path)
            continue
        own = [path.parent / name for name in read_table(path, SHARDS)["path"]]
        if absent := [str(name) for name in own if not name.is_file()]:
            raise InputError(
                f"{path} lists shards that are missing: {few(absent)}. Run `snakemake tensors` to have "
                "real images made anew, `snakemake samples` synthetic ones: what comes out as before "
                "makes nothing else anew."
            )
        paths += own
    return paths


def unaltered(table: str | Path) -> None:
    """Demand of each shard that a table SHARDS lists that it holds the bytes that the table says.

    A missing one is for `listed` to name.

    Raises
    ------
    InputError
        If one holds others.
    """
    rows = read_table(table, SHARDS)
    for name, digest in zip(rows["path"], rows["sha256"], strict=True):
        path = Path(table).parent / name
        if path.is_file() and sha256_of(path) != digest:
            raise InputError(f"{path} is not the file that {table} lists. {REMAKE}")


def open_shard(path: str | Path) -> np.ndarray:
    """Map a shard into memory: uint8 or uint16, (rows, height, width) or with channels behind."""
    shard = open_array(path)
    if shard.dtype not in (np.uint8, np.uint16) or shard.ndim not in (3, 4):
        raise InputError(
            f"{path} holds {shard.dtype} {shard.shape}, not images of uint8 or uint16. {REMAKE}"
        )
    return shard


def open_array(path: str | Path) -> np.ndarray:
    """Map an array into memory; one of Python objects, whose reading could run code, is refused."""
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # a damaged header is parsed as Python, which fails in many ways
        raise InputError(f"{path} cannot be read ({error}). {REMAKE}") from None
