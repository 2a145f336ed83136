"""The batches of a training: which images, under which conditions, with which noise.

What step k sees comes from the seed and k alone, and for the whole batch at once, of which each of
several processes takes its own part. So a run that was resumed goes through the very steps of one
that was not, N processes through those of one, and no random state needs saving.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.pixels import to_input
from workflow_scripts.common.schemas import IMAGES
from workflow_scripts.common.seeds import generator, seed_for
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table
from workflow_scripts.diffusion.conditions import Conditions

CHUNK = 1024  # images read at a time where all are read


@dataclass
class Split:
    """The images of one split: rows of the table IMAGES, and the store in the same order."""

    table: pd.DataFrame
    store: ImageStore


def read_split(images: Path, shards: list[Path], split: str) -> Split:
    """Open one split of a data set; an `InputError` if it is empty."""
    table = read_table(images, IMAGES)
    rows = table[table["split"] == split]
    if rows.empty:
        raise InputError(f"{images} holds no image of the {split} split")
    return Split(rows, ImageStore(rows, shards))


def pixel_deviation(store: ImageStore) -> float:
    """Return σ_data: the standard deviation of all pixels, in [-1, 1], from their grey levels."""
    counts = np.zeros(256, dtype=np.int64)
    for start in range(0, len(store), CHUNK):
        chunk = store.gather(np.arange(start, min(start + CHUNK, len(store))))
        counts += np.bincount(chunk.ravel(), minlength=256)
    share = counts / counts.sum()
    value = np.arange(256) / 127.5 - 1
    mean = share @ value
    return float(np.sqrt(share @ (value - mean) ** 2))


class Pixels:
    """The images of a store as networks see them, on a device.

    They live there as uint8 where it is a GPU with twice the room; else each batch is gathered
    from the memory-mapped store, which the page cache keeps.
    """

    def __init__(self, store: ImageStore, device: torch.device):
        self.store, self.device = store, device
        self.resident = None
        if device.type == "cuda":
            shape = (len(store), store.size, store.size)
            free, _ = torch.cuda.mem_get_info(device)
            if 2 * len(store) * store.size**2 < free:
                self.resident = torch.empty(shape, dtype=torch.uint8, device=device)
                for start in range(0, len(store), CHUNK):
                    chunk = store.gather(np.arange(start, min(start + CHUNK, len(store))))
                    self.resident[start : start + len(chunk)] = torch.from_numpy(chunk)

    def __getitem__(self, positions: np.ndarray) -> Tensor:
        """Return the images at `positions`: float32 (n, 1, h, w) in [-1, 1]."""
        if self.resident is None:
            return to_input(self.store.gather(positions), self.device)
        rows = torch.from_numpy(positions).to(self.device, non_blocking=True)
        return self.resident[rows, None].float() / 127.5 - 1


class Batch(NamedTuple):
    """What a step learns from, n images of h × w pixels."""

    x0: Tensor  # images, float32 (n, 1, h, w) in [-1, 1]
    eps: Tensor  # noise, float32 (n, 1, h, w)
    u: Tensor  # which quantile of the noise levels, float32 (n,) in [0, 1)
    c: Tensor  # conditions, some hidden, float32 (n, width)


class Batches:
    """The batches of a training, by step.

    Parameters
    ----------
    split : the training split
    conditions : of the model
    settings : the configuration section `training` of a model
    device : where the batches are made
    rank, world : number of this process, and of all; they divide `batch_size`
    """

    def __init__(
        self,
        split: Split,
        conditions: Conditions,
        settings: dict,
        device: torch.device,
        rank: int = 0,
        world: int = 1,
    ):
        self.pixels = Pixels(split.store, device)
        self.c = conditions.encode(split.table).to(device)
        self.conditions = conditions
        classes = split.table["class_id"].to_numpy()
        self.edges = class_probabilities(classes, settings["class_sampling"]).cumsum()
        self.size, self.seed = settings["batch_size"], settings["seed"]
        self.label_dropout = settings["label_dropout"]
        self.mine = slice(rank, None, world)
        self.stream = torch.Generator(device)

    def __getitem__(self, step: int) -> Batch:
        """Return this process's part of the batch of `step`."""
        positions = draw_positions(self.edges, self.size, self.seed, step)[self.mine]
        stream, n, device = self.stream, self.size, self.pixels.device
        stream.manual_seed(seed_for(self.seed, "step", step))
        # Noise levels spread evenly over the batch from a random start, which lowers the variance
        # of its loss: Kingma et al. 2021, "Variational diffusion models", appendix I.1.
        start = torch.rand(1, generator=stream, device=device)
        u = (start + torch.arange(n, device=device)) / n % 1
        drop = torch.rand(n, 1 + len(self.conditions.attributes), generator=stream, device=device)
        x0 = self.pixels[positions]
        eps = torch.randn(n, *x0.shape[1:], generator=stream, device=device)
        c = self.c[torch.from_numpy(positions).to(device, non_blocking=True)]
        c = self.conditions.dropped(c, self.label_dropout, drop[self.mine])
        return Batch(x0, eps[self.mine], u[self.mine], c)


def class_probabilities(classes: np.ndarray, sampling: str) -> np.ndarray:
    """Return the probability of drawing each image: float64 (n,).

    `natural` draws images alike; `balanced` draws classes alike; `sqrt` lies between, drawing a
    class in proportion to the square root of its size.
    """
    _, inverse, counts = np.unique(classes, return_inverse=True, return_counts=True)
    share = counts ** {"natural": 1.0, "sqrt": 0.5, "balanced": 0.0}[sampling]
    return (share / share.sum() / counts)[inverse]


def draw_positions(edges: np.ndarray, count: int, seed: int, step: int) -> np.ndarray:
    """Draw the images of one batch, with replacement: int64 (count,).

    Parameters
    ----------
    edges : running sums of the images' probabilities, float64 (images,)
    """
    draws = generator(seed, "batch", step).random(count) * edges[-1]
    return np.searchsorted(edges, draws, side="right").clip(max=len(edges) - 1)
