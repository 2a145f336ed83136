"""The image sets that are compared: equal in number and in class composition.

Distances between sets depend on how many images there are, of which classes and of how many
patients. All sets therefore give the same number of each class, and of real images one of each
patient: what the poorest of them has.
"""

import numpy as np
import pandas as pd

from workflow_scripts.common.findings import single_finding
from workflow_scripts.common.seeds import generator

# Where each set's images come from; `synthetic` are samples, the others real images of a split.
# `reference` is what everything is compared with; `floor` and `train` show what the same measure
# gives for real images of other patients, unseen and seen in training.
SPLIT_OF = {"reference": "test", "floor": "val", "train": "train"}
Subsets = dict[str, dict[str, np.ndarray]]


def members(images: pd.DataFrame, samples: pd.DataFrame, classes: list[str]) -> Subsets:
    """Return for every set and class the rows of its table, int64.

    Real images with several findings are in no set: they belong to no one class.
    """
    single = single_finding(images)
    tables = {"synthetic": samples["class_name"]} | {
        name: images["class_name"].where(single & (images["split"] == split))
        for name, split in SPLIT_OF.items()
    }
    return {
        name: {label: np.flatnonzero(column == label) for label in classes}
        for name, column in tables.items()
    }


def equal_subsets(sets: Subsets, patients: np.ndarray, seed: int) -> Subsets:
    """Draw from every set the same number of images of each class, without replacement.

    Of a class at most one image of each patient: many images of few patients are fewer than they
    seem, and would be further from other patients than as many independent synthetic images are.
    Classes together still hold a patient once for each class he has images of: of that bias a
    part remains. What is drawn from one set does not depend on the others but for the number.

    Parameters
    ----------
    sets : all rows of every set and class
    patients : whose each row of the image table is
    """
    order = {
        name: {
            label: shuffled(
                of_class,
                None if name == "synthetic" else patients,
                generator(seed, "subset", name, label),
            )
            for label, of_class in rows.items()
        }
        for name, rows in sets.items()
    }
    classes = next(iter(sets.values()))
    count = {label: min(len(rows[label]) for rows in order.values()) for label in classes}
    return {
        name: {label: np.sort(rows[label][: count[label]]) for label in classes}
        for name, rows in order.items()
    }


def shuffled(rows: np.ndarray, patients: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """Return rows in random order, with `patients` one of each at most."""
    rows = rng.permutation(rows)
    return rows if patients is None else rows[~pd.Index(np.asarray(patients)[rows]).duplicated()]


def wrong_class(
    everything: Subsets, subsets: Subsets, patients: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """Draw for each class validation images of all other classes: rows of the image table.

    As many as its subsets have, or as there are, one of each patient. Compared with the class's
    reference they show what a measure gives where the class asked for is missed altogether.

    Parameters
    ----------
    everything : all rows of every set and class
    subsets : equal sets drawn from them
    patients : whose each row of the image table is
    """
    drawn = {}
    for label, rows in subsets["reference"].items():
        others = [other for name, other in everything["floor"].items() if name != label]
        pool = np.concatenate([np.empty(0, dtype=np.int64), *others])
        order = shuffled(pool, patients, generator(seed, "wrong class", label))
        drawn[label] = np.sort(order[: len(rows)])
    return drawn
