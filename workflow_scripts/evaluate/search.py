"""Search one feature space for copies of training images, and for likenesses that are none."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.runtime import log, progress
from workflow_scripts.common.seeds import generator
from workflow_scripts.common.store import ImageStore
from workflow_scripts.evaluate.rows import Pictures
from workflow_scripts.evaluate.sets import SPLIT_OF, Subsets, members
from workflow_scripts.metrics.copies import (
    Limit,
    Nearest,
    copy_limits,
    core,
    moves,
    nearer,
    nearest,
)
from workflow_scripts.metrics.estimates import blocks, group_codes

# Images that are looked at: drawn ones, real ones of each split, and copies that must be found.
SETS = ("synthetic", "val", "test", "train", "planted")
REAL = ("val", "test", "train")
IMAGES_AT_ONCE = 256  # whose pixels are in memory


class Space(Protocol):
    """Where images are compared; `table` is `real`, `synthetic` or `planted`."""

    def views(self, table: str, rows: np.ndarray) -> Iterable[np.ndarray]:
        """Return the features (n, d) that are looked for, one array per view of the images."""

    def seen(self, rows: np.ndarray) -> np.ndarray:
        """Return the features (n, d) of real images among which they are looked for."""


@dataclass(frozen=True)
class FeaturesOf:
    """A network's features, (n, d), by table."""

    tables: dict[str, np.ndarray]

    def views(self, table: str, rows: np.ndarray) -> Iterable[np.ndarray]:
        return [self.tables[table][rows]]

    def seen(self, rows: np.ndarray) -> np.ndarray:
        return self.tables["real"][rows]


@dataclass(frozen=True)
class PixelsOf:
    """Images, by table. A copy may be shifted, brighter or of more contrast (see `copies.core`)."""

    tables: dict[str, ImageStore]

    def views(self, table: str, rows: np.ndarray) -> Iterable[np.ndarray]:
        return (self.cores(table, rows, *move) for move in moves(self.tables[table].size))

    def seen(self, rows: np.ndarray) -> np.ndarray:
        return self.cores("real", rows)

    def cores(self, table: str, rows: np.ndarray, down: int = 0, right: int = 0) -> np.ndarray:
        """Return `core` of some images, a few at a time."""
        store, parts = self.tables[table], blocks(len(rows), IMAGES_AT_ONCE)
        return np.concatenate([core(store.gather(rows[part]), down, right) for part in parts])


@dataclass(frozen=True)
class Found:
    """What the search found in one feature space, image by image within sets and classes.

    `copied` and `closer` are bool; `closer` is whether the nearest of the images of `sides`, that
    many seen and as many unseen ones of each class, is a seen one. Of synthetic images, by class:
    the training image that is `nearest` (row of the image table), and `owners`, the patient whose
    image is the nearest of both sides.
    """

    limits: dict[str, Limit]
    copied: Subsets
    closer: Subsets
    nearest: dict[str, Nearest]
    owners: dict[str, np.ndarray]
    sides: dict[str, int]


def audited_sets(pictures: Pictures, control: pd.DataFrame, classes: list[str]) -> Subsets:
    """Return the rows of SETS by class, for the classes that all sets have."""
    of = members(pictures.images, pictures.samples, classes)
    splits = {split: of[name] for name, split in SPLIT_OF.items()}
    planted = {label: np.flatnonzero(control["class_name"] == label) for label in classes}
    everything = {"synthetic": of["synthetic"], "planted": planted} | splits
    labels = [name for name in classes if all(len(everything[part][name]) for part in SETS)]
    for label in sorted(set(classes) - set(labels)):
        log.warning("%s: no search for its copies without images of it in every split", label)
    if not labels:
        raise InputError(
            "copies cannot be looked for: no class has synthetic images and single-finding images in "
            "train, val and test. Enlarge `split.fractions` or take classes that are more common."
        )
    return {name: {label: rows[label] for label in labels} for name, rows in everything.items()}


def search(name: str, pictures: Pictures, space: Space, everything: Subsets, seed: int) -> Found:
    """Find every image's nearest training image, and its nearest of a seen and an unseen side.

    Real images are never compared with those of their own patient. Validation images set the
    thresholds, one of each patient and class, since those of one patient are not independent: no
    test image decides what a study trains on.

    Parameters
    ----------
    name : of the space, for the progress line
    everything : rows of SETS by class, none empty
    """
    labels = list(everything["val"])
    rows = dict(everything)
    rows["train"] = {  # as many as validation images: all would cost train times train
        label: generator(seed, "copied", label).permutation(of)[: len(rows["val"][label])]
        for label, of in rows["train"].items()
    }
    rows["val"] = {
        label: one_each(of, pictures.owners("val", of), generator(seed, "held out", label))
        for label, of in rows["val"].items()
    }
    drawn_sides = {label: equal_sides(pictures, everything, label, seed) for label in labels}
    references = {
        "training": np.flatnonzero(pictures.images["split"] == "train"),
        "seen": np.concatenate([drawn_sides[label][0] for label in labels]),
        "unseen": np.concatenate([drawn_sides[label][1] for label in labels]),
    }
    people = group_codes(pictures.images["patient_id"], len(pictures.images))
    features = {key: space.seen(there) for key, there in references.items()}

    def nearest_of(part: str) -> dict[str, dict[str, Nearest]]:
        """Find for one set the nearest of each of `references`, by class, as rows of the table."""
        here = np.concatenate(list(rows[part].values()))
        found: dict[str, Nearest] = {}
        for x in space.views("real" if part in REAL else part, here):
            for key, there in references.items():
                own = (people[here], people[there]) if part in REAL else (None, None)
                near = nearest(x, features[key], *own)
                found[key] = nearer(found[key], near) if key in found else near
        ends = np.cumsum([len(rows[part][label]) for label in labels])[:-1]
        by_class = {}
        for key, near in found.items():
            cut = (np.split(a, ends) for a in (references[key][near.position], near.distance))
            by_class[key] = {
                label: Nearest(*both) for label, *both in zip(labels, *cut, strict=True)
            }
        return by_class

    near = {part: nearest_of(part) for part in progress(SETS, f"copies in {name}", unit="set")}
    closer = {
        part: {label: of["seen"][label].distance < of["unseen"][label].distance for label in labels}
        for part, of in near.items()
    }
    drawn = near["synthetic"]
    owners = {
        label: people[nearer(drawn["unseen"][label], drawn["seen"][label]).position]
        for label in labels
    }
    limits = copy_limits({label: near["val"]["training"][label].distance for label in labels})
    copied = {
        part: {label: of["training"][label].distance < limits[label].distance for label in labels}
        for part, of in near.items()
    }
    sides = {label: len(side[0]) for label, side in drawn_sides.items()}
    return Found(limits, copied, closer, drawn["training"], owners, sides)


def one_each(rows: np.ndarray, owners: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw one row of each owner."""
    order = rng.permutation(len(rows))
    return rows[order[np.unique(owners[order], return_index=True)[1]]]


def equal_sides(
    pictures: Pictures, everything: Subsets, label: str, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw equally many training and held-out images of a class: rows of the image table.

    Whole patients are drawn, so that both sides have about as many: single images of twice the
    patients would cover more ground.
    """
    held_out = np.concatenate([everything[name][label] for name in ("val", "test")])
    sides = {"train": everything["train"][label], "held-out": held_out}
    count = min(map(len, sides.values()))
    drawn = []
    for name, rows in sides.items():
        code = group_codes(pictures.owners(name, rows), len(rows))
        rank = generator(seed, "sides", name, label).permutation(code.max() + 1)
        drawn.append(rows[np.argsort(rank[code], kind="stable")[:count]])
    return drawn[0], drawn[1]
