"""The arms of a study: which images each one trains on, and the proof that none is a test image."""

import math

import pandas as pd

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.findings import single_finding

COLUMNS = ["image_id", "class_id", "class_name", "shard", "row"]


def synthetic_per_class(ratio: float, real: int, classes: int) -> int:
    """Return how many synthetic images of each class an arm takes.

    `ratio` times as many as there are real training images in all, spread equally over the
    classes and rounded up: rare classes gain most.
    """
    return math.ceil(round(ratio * real / classes, 9))


def compose(
    images: pd.DataFrame, samples: pd.DataFrame | None, per_class: int, where: str
) -> pd.DataFrame:
    """Return the images an arm trains on: real ones with one finding, then synthetic ones.

    Parameters
    ----------
    images : IMAGES, all splits
    samples : SAMPLES; not needed where `per_class` is 0
    per_class : synthetic images of each class, the first by image id
    where : the arm's key in the configuration, for the message

    Returns
    -------
    the columns `COLUMNS` and `synthetic` (bool)

    Raises
    ------
    InputError
        If a class has fewer synthetic images than asked for.
    """
    mine = (images["split"] == "train") & single_finding(images)
    real = images.loc[mine, COLUMNS].assign(synthetic=False)
    if not per_class:
        return real.reset_index(drop=True)
    classes = images.drop_duplicates("class_id").set_index("class_id")["class_name"].sort_index()
    counts = samples["class_id"].value_counts().reindex(classes.index, fill_value=0)
    short = counts[counts < per_class]
    if len(short):
        missing = ", ".join(f"{classes[number]} has {have}" for number, have in short.items())
        raise InputError(
            f"{where} takes {per_class} synthetic images of each class, but {missing}. Set "
            f"`per_class` of the study's sampler to at least {per_class}, or lower {where}.synthetic."
        )
    chosen = samples.sort_values("image_id").groupby("class_id").head(per_class)
    chosen = chosen.loc[chosen["class_id"].isin(classes.index), COLUMNS].assign(synthetic=True)
    return pd.concat([real, chosen], ignore_index=True)


def guard(training: pd.DataFrame, images: pd.DataFrame, source: str | None, where: str) -> None:
    """Refuse an arm whose images could carry the validation or test split into training.

    Parameters
    ----------
    training : what `compose` returned
    images : IMAGES, all splits
    source : what the ids of the arm's synthetic images begin with, "<model>/<sampler>/"; None where
        it has none
    where : the arm's key in the configuration, for the message

    Raises
    ------
    InputError
        If a real image is not of the training split or shows several findings, if a patient of
        it is also in another split, or if a synthetic image is of another source.
    """
    ids = training.loc[~training["synthetic"], "image_id"]
    outside = sorted(set(ids) - set(images.loc[images["split"] == "train", "image_id"]))
    mixed = sorted(set(ids) & set(images.loc[~single_finding(images), "image_id"]))
    held_out = set(images.loc[images["split"] != "train", "patient_id"])
    trained = set(images.loc[images["image_id"].isin(ids), "patient_id"])
    made = training.loc[training["synthetic"], "image_id"]
    foreign = [name for name in made if source is None or not name.startswith(source)]
    twice = training["image_id"][training["image_id"].duplicated()].tolist()
    for found, what in (
        (outside, "images that are not of the training split"),
        (mixed, "images that show several findings"),
        (sorted(trained & held_out), "patients who are also in the validation or test split"),
        (foreign, f"synthetic images that are not of {source or 'this study'}"),
        (twice, "images twice"),
    ):
        if found:
            more = f" and {len(found) - 5} more" if len(found) > 5 else ""
            raise InputError(
                f"{where} would train on {what}: {', '.join(map(str, found[:5]))}{more}. Its "
                "result would mean nothing. Make the splits, the tensors and the samples anew."
            )
