"""The batches of a training: which images, under which conditions, with which noise.

What step k sees comes from the seed and k alone, and for the whole batch at once, of which each of
several processes takes its own part. So a run that was resumed goes through the very steps of one
that was not, N processes through those of one, and no random state needs saving.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.levels import DEPTHS
from workflow_scripts.common.pixels import scaled, to_input
from workflow_scripts.common.schemas import IMAGES
from workflow_scripts.common.seeds import generator, seed_for
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table
from workflow_scripts.diffusion.conditions import Conditions
from workflow_scripts.diffusion.degradation import Degradation
from workflow_scripts.diffusion.process import normal

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
    """Return σ_data: the standard deviation of all pixels, in [-1, 1], from their levels."""
    most = DEPTHS[store.bits][1]
    counts = np.zeros(most + 1, dtype=np.int64)
    for start in range(0, len(store), CHUNK):
        chunk = store.gather(np.arange(start, min(start + CHUNK, len(store))))
        counts += np.bincount(chunk.ravel(), minlength=most + 1)
    share = counts / counts.sum()
    value = np.arange(most + 1) / (most / 2) - 1
    mean = share @ value
    return float(np.sqrt(share @ (value - mean) ** 2))


class Pixels:
    """The images of a store as networks see them, on a device.

    They live there as stored where it is a GPU with twice the room; else each batch is gathered
    from the memory-mapped store, which the page cache keeps.
    """

    def __init__(self, store: ImageStore, device: torch.device):
        self.store, self.device = store, device
        self.resident = None
        if device.type == "cuda":
            # PyTorch computes little with uint16.
            kept = torch.uint8 if store.bits == 8 else torch.int32
            shape = (len(store), *store.gather(np.arange(1)).shape[1:])
            free, _ = torch.cuda.mem_get_info(device)
            if 2 * math.prod(shape) * kept.itemsize < free:
                self.resident = torch.empty(shape, dtype=kept, device=device)
                for start in range(0, len(store), CHUNK):
                    chunk = store.gather(np.arange(start, min(start + CHUNK, len(store))))
                    chunk = chunk if store.bits == 8 else chunk.astype(np.int32)
                    self.resident[start : start + len(chunk)] = torch.from_numpy(chunk)

    def __getitem__(self, positions: np.ndarray) -> Tensor:
        """Return the images at `positions`: float32 (n, c, h, w) in [-1, 1]."""
        if self.resident is None:
            return to_input(self.store.gather(positions), self.device)
        rows = torch.from_numpy(positions).to(self.device, non_blocking=True)
        return scaled(self.resident[rows], self.store.bits)


class Batch(NamedTuple):
    """What a step learns from, n images of h × w pixels."""

    x0: Tensor  # images, float32 (n, channels, h, w) in [-1, 1]
    eps: Tensor  # noise, shaped as x0
    u: Tensor  # which quantile of the noise levels, float32 (n,) in [0, 1)
    c: Tensor  # conditions, some hidden, float32 (n, width)
    given: Tensor | None = None  # degraded images, some hidden, shaped as x0, or none at all


class Batches:
    """The batches of a training, by step.

    Parameters
    ----------
    split : the training split
    conditions : of the model
    settings : the configuration section `training` of a model
    device : where the batches are made
    rank, world : number of this process, and of all; they divide `batch_size`
    degradation : of the image that the network is given; None: it is given none
    regression : the network sees the degraded image alone: `eps` is then what was done to x_0
    eps : draws noise of a shape from a stream, as a process does
    """

    def __init__(
        self,
        split: Split,
        conditions: Conditions,
        settings: dict,
        device: torch.device,
        rank: int = 0,
        world: int = 1,
        degradation: Degradation | None = None,
        regression: bool = False,
        eps: Callable[[Sequence[int], torch.Generator], Tensor] = normal,
    ):
        self.pixels = Pixels(split.store, device)
        self.conditions, self.degradation = conditions, degradation
        self.regression, self.eps = regression, eps
        # What is said of each image, once with each variance that it may be given with.
        variances = degradation.variances if degradation else []
        self.variances = torch.tensor(variances, device=device)
        tables = [split.table.assign(noise_variance=one) for one in variances or [np.nan]]
        self.c = torch.stack([conditions.encode(table) for table in tables]).to(device)
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
        eps = self.eps((n, *x0.shape[1:]), stream)
        rows = torch.from_numpy(positions).to(device, non_blocking=True)
        if self.degradation is None:
            c = self.conditions.dropped(self.c[0, rows], self.label_dropout, drop[self.mine])
            return Batch(x0, eps[self.mine], u[self.mine], c)
        shape = (n, self.degradation.draws, *x0.shape[1:])
        normal = torch.randn(shape, generator=stream, device=device)[self.mine]
        which, variance = torch.zeros_like(rows), torch.zeros(len(x0), device=device)
        if len(self.variances):
            drawn = torch.randint(len(self.variances), (n,), generator=stream, device=device)
            which = drawn[self.mine]
            variance = self.variances[which]
        given = self.degradation(x0, normal, variance)
        c = self.conditions.dropped(self.c[which, rows], self.label_dropout, drop[self.mine])
        if self.regression:
            return Batch(x0, given - x0, u[self.mine], c)
        hidden = (drop[self.mine, 0] < self.label_dropout).view(-1, 1, 1, 1)
        return Batch(x0, eps[self.mine], u[self.mine], c, given.masked_fill(hidden, 0))


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
