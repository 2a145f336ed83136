"""The patches that methods are tuned and judged on, and those of them that are shown."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.levels import DEPTHS, bits_of
from workflow_scripts.common.runtime import log
from workflow_scripts.common.schemas import IMAGES
from workflow_scripts.common.seeds import seed_for
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table


@dataclass(frozen=True)
class Judged:
    """Patches of one split.

    Attributes
    ----------
    table : their rows of IMAGES
    clean : float32 (n, h, w) or (n, h, w, c) in [0, 1]
    """

    table: pd.DataFrame
    clean: np.ndarray

    @property
    def names(self) -> list[str]:
        """The patches' ids."""
        return self.table["image_id"].tolist()


def judged(
    images: str | Path, shards: list[str | Path], split: str, count: int, seed: int
) -> Judged:
    """Return `count` patches of a split, or as many as there are, spread over its patients.

    Every patient is in it once before any is twice. Which patches those are depends on their names
    and the seed.

    Parameters
    ----------
    images : table IMAGES of the patches
    shards : the store's shards
    """
    table = read_table(images, IMAGES)
    rows = spread(table[table["split"] == split], count, seed)
    if len(rows) < count:
        log.info("%s: %d patches are all that there are", split, len(rows))
    return Judged(rows, unit(ImageStore(rows, shards).all()))


def spread(rows: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """Return `count` rows, as evenly over `patient_id` as they are, sorted by `image_id`."""
    lots = pd.Series([seed_for(seed, "judged", name) for name in rows["image_id"]], rows.index)
    turn = lots.groupby(rows["patient_id"]).rank(method="first")
    order = pd.DataFrame({"turn": turn, "lot": lots}).sort_values(["turn", "lot"]).index
    return rows.loc[order[:count]].sort_values("image_id")


def unit(images: np.ndarray) -> np.ndarray:
    """Return stored images as float32 in [0, 1]."""
    return images.astype(np.float32) / DEPTHS[bits_of(images.dtype)][1]


def chosen(patches: Judged, count: int) -> list[int]:
    """Return the places of `count` patches to show: of much contrast, of different patients while there are.

    Flat patches tell nothing to the eye; nothing that a method made decides what is shown.
    """
    contrast = patches.clean.reshape(len(patches.clean), -1).std(axis=1)
    order = np.argsort(-contrast, kind="stable").tolist()
    owners = patches.table["patient_id"].tolist()
    first = {owners[place]: place for place in reversed(order)}
    ahead = [place for place in order if first[owners[place]] == place]
    return (ahead + [place for place in order if place not in ahead])[:count]
