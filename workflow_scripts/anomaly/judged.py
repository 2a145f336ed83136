"""Which images are healed and scored."""

import pandas as pd

from workflow_scripts.common.findings import single_finding
from workflow_scripts.common.seeds import generator

SPLITS = ("val", "test")  # validation chooses, test tells


def judged_images(images: pd.DataFrame, per_class: int | None, seed: int) -> pd.DataFrame:
    """Return the rows of IMAGES that are scored: validation and test images of one finding alone.

    Parameters
    ----------
    per_class : at most so many of each class and split, drawn at random; None: all

    Returns
    -------
    rows in the order of the table
    """
    rows = images[images["split"].isin(SPLITS) & single_finding(images)]
    if per_class is None:
        return rows
    order = generator(seed, "judged").permutation(len(rows))
    mixed = rows.iloc[order]
    rank = mixed.groupby(["split", "class_id"]).cumcount()
    return rows.loc[mixed.index[rank < per_class].sort_values()]
