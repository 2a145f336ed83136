"""The arms of a study: which images each one trains on."""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.findings import single_finding
from workflow_scripts.common.seeds import generator
from workflow_scripts.common.store import listed

COLUMNS = ["image_id", "patient_id", "class_id", "class_name", "shard", "row"]


def real_images(images: pd.DataFrame, patients: float, seed: int) -> pd.DataFrame:
    """Return the training images with one finding of a share of their patients, a part of IMAGES.

    All patients stand in one random order, that of `seed`. Of the patients who hold a class, its
    share is the first of them in that order, rounded up; whoever is in the share of one class
    takes part with all images. So every class keeps at least its share of patients and at least
    one, and a smaller share is a part of a larger one.

    Parameters
    ----------
    images : IMAGES, all splits
    patients : share of the training patients, above 0 and at most 1
    seed : the same for all shares that are to be parts of each other
    """
    train = images[(images["split"] == "train") & single_finding(images)]
    names = np.sort(train["patient_id"].unique())
    order = generator(seed, "patients of a study").permutation(len(names))
    place = pd.Series(order, index=names)
    chosen: set[str] = set()
    for _, holders in train.groupby("class_id")["patient_id"]:
        ranked = place[holders.unique()].sort_values()
        chosen.update(ranked.index[: math.ceil(round(patients * len(ranked), 9))])
    return train[train["patient_id"].isin(chosen)]


def synthetic_per_class(ratio: float, real: int, classes: int) -> int:
    """Return how many synthetic images of each of some classes an arm takes.

    `ratio` times as many as there are real training images in all, spread equally over the
    classes and rounded up: rare classes gain most.
    """
    return math.ceil(round(ratio * real / classes, 9))


def given(arm: dict, classes: list[str]) -> list[str]:
    """Return the classes that get synthetic images in an arm, in the order of the cohort."""
    if not arm["synthetic"]:
        return []
    return [name for name in classes if arm["classes"] == "all" or name in arm["classes"]]


def cleared(samples: pd.DataFrame, copies: pd.DataFrame) -> tuple[pd.DataFrame, dict]:
    """Leave out the synthetic images that the audit takes for copies in any feature space.

    Parameters
    ----------
    samples : SAMPLES
    copies : COPIES; an image that it does not name was not looked at, and is left out as well

    Returns
    -------
    the rest of the samples; and of each class how many were left out: `images` in all, of them
    `unaudited`, and as copies in each space, by the extractor's name
    """
    found = copies[copies["copied"]]
    unaudited = ~samples["image_id"].isin(copies["image_id"])
    out = unaudited | samples["image_id"].isin(found["image_id"])
    removed = {}
    for name, rows in samples.groupby("class_name"):
        spaces = found[found["image_id"].isin(rows["image_id"])].groupby("extractor")["image_id"]
        removed[name] = {
            "images": int(out[rows.index].sum()),
            "unaudited": int(unaudited[rows.index].sum()),
        } | {space: int(ids.nunique()) for space, ids in spaces}
    return samples[~out], removed


def taken_shards(training: pd.DataFrame, shards: list[Path]) -> list[Path]:
    """Return those of the synthetic shards (see `ImageStore`) that hold an image of an arm."""
    taken = set(training.loc[training["synthetic"], "shard"])
    return [path for path in listed(shards) if path.stem in taken]


def compose(
    real: pd.DataFrame,
    samples: pd.DataFrame | None,
    arm: dict,
    classes: list[str],
    where: str,
) -> pd.DataFrame:
    """Return the images an arm trains on: real ones, then synthetic ones (ARM_IMAGES).

    Of each class that gets any, the synthetic images are the first by image id.

    Parameters
    ----------
    real : what `real_images` returned; their number is what `synthetic` is a multiple of, also
        where the arm itself takes none of them
    samples : SAMPLES; not needed where the arm takes none
    arm : settings `real`, `synthetic` and `classes`
    classes : names of all classes, by class id
    where : the arm's key in the configuration, for the message

    Raises
    ------
    InputError
        If a class has fewer synthetic images than asked for.
    """
    mine = real[COLUMNS].assign(synthetic=False)
    taken = mine if arm["real"] else mine.head(0)
    names = given(arm, classes)
    if not names:
        return taken.reset_index(drop=True)
    per_class = synthetic_per_class(arm["synthetic"], len(real), len(names))
    counts = samples["class_name"].value_counts().reindex(names, fill_value=0)
    short = counts[counts < per_class]
    if len(short):
        missing = ", ".join(f"{name} has {have}" for name, have in short.items())
        raise InputError(
            f"{where} takes {per_class} synthetic images of each class, but {missing}. Raise "
            f"`per_class` of the study's sampler, or lower {where}.synthetic."
        )
    ordered = samples[samples["class_name"].isin(names)].sort_values("image_id")
    drawn = ordered.groupby("class_name").head(per_class)
    drawn = drawn.assign(patient_id=None, synthetic=True)[taken.columns]
    return (
        pd.concat([taken, drawn], ignore_index=True) if len(taken) else drawn.reset_index(drop=True)
    )
