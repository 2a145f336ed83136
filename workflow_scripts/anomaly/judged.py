"""Which images are healed and scored."""

import pandas as pd

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.findings import single_finding
from workflow_scripts.common.seeds import generator

SPLITS = ("val", "test")  # validation chooses, test tells


def require_images(images: pd.DataFrame, healthy: str) -> None:
    """Refuse images among which health cannot be learned, or not be told from findings.

    Asked before anything is trained.

    Parameters
    ----------
    images : table IMAGES
    healthy : the class that counts as healthy

    Raises
    ------
    InputError
        If a split has no image of the healthy class, or validation or test none of another finding;
        images of several findings do not count.
    """
    alone = images[single_finding(images)]
    for split in ("train", *SPLITS):
        well = alone.loc[alone["split"] == split, "class_name"] == healthy
        if well.any() and (not well.all() or split == "train"):
            continue
        missing = "a finding of cohort.classes" if well.any() else healthy
        raise InputError(
            f"no image of the split {split} shows {missing} and nothing else, so that the section "
            f"anomaly, whose healthy class is {healthy}, has nothing to "
            f"{'learn from' if split == 'train' else 'compare'}. Give a larger share in "
            f"split.fractions.{split}, other cohort.classes, or another `healthy`."
        )


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
