"""The image sets that are compared: equal in number and in class composition.

Distances between sets depend on how many images there are and of which classes. All sets
therefore give the same number of each class: what the poorest of them has.
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


def equal_subsets(sets: Subsets, seed: int) -> Subsets:
    """Draw from every set the same number of images of each class, without replacement.

    What is drawn from one set does not depend on the others but for that number.
    """
    classes = next(iter(sets.values()))
    count = {label: min(len(rows[label]) for rows in sets.values()) for label in classes}
    return {
        name: {
            label: np.sort(
                generator(seed, "subset", name, label).permutation(rows[label])[: count[label]]
            )
            for label in classes
        }
        for name, rows in sets.items()
    }
