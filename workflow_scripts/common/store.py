"""The image store: uint8 shards in `.npy` files beside an index in parquet.

A shard is an array of shape (rows, height, width). The index names, for each image, its shard
(a file stem) and its row. Shards are memory-mapped, and read a whole batch at a time.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import REMAKE


class ImageStore:
    """Images of an index, in the order of its rows.

    Parameters
    ----------
    index : DataFrame with the columns `shard` (str) and `row` (int)
    shards : paths of the `.npy` files; a shard's name is the file's stem
    """

    def __init__(self, index: pd.DataFrame, shards: Iterable[str | Path]):
        arrays = {Path(path).stem: open_shard(path) for path in shards}
        names = sorted(arrays)
        self.arrays = [arrays[name] for name in names]
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
        return self.arrays[0].shape[-1]

    def gather(self, positions: np.ndarray) -> np.ndarray:
        """Return the images at `positions` of the index: uint8, (len(positions), height, width)."""
        positions = np.asarray(positions, dtype=np.int64)
        shard, row = self.shard[positions], self.row[positions]
        images = np.empty((len(positions), self.size, self.size), dtype=np.uint8)
        for number, array in enumerate(self.arrays):
            here = np.flatnonzero(shard == number)
            # In the order of the file, so that a spinning or network disk reads forward.
            here = here[np.argsort(row[here], kind="stable")]
            images[here] = array[row[here]]
        return images

    def all(self) -> np.ndarray:
        """Return every image of the index: uint8, (len(self), height, width)."""
        return self.gather(np.arange(len(self)))


def open_shard(path: str | Path) -> np.ndarray:
    """Map a shard into memory: uint8 (rows, height, width)."""
    try:
        shard = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read ({error}). {REMAKE}") from None
    if shard.dtype != np.uint8 or shard.ndim != 3:
        raise InputError(f"{path} holds {shard.dtype} {shard.shape}, not uint8 images. {REMAKE}")
    return shard
