"""Ways to divide patients: all images of a patient go to one split.

Each way takes a cohort (columns image_id, patient_id, class_id; one row per image) and returns the
split of each row. None depends on the order of the rows.
"""

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from workflow_scripts.common.errors import InputError, few
from workflow_scripts.common.findings import single_finding
from workflow_scripts.common.schemas import SPLITS
from workflow_scripts.common.seeds import seed_for


def stratified(cohort: pd.DataFrame, fractions: Mapping[str, float], seed: int) -> pd.Series:
    """Deal patients out class by class, the rarest class first.

    Rare is what few patients hold. A class's patients that are not dealt yet stand in random order
    and are cut where their running number of images fills what each split still lacks of that
    class; so a split misses its share of a class by little more than one patient's images. At
    least three such patients (as many as there are splits) reach every split.

    Parameters
    ----------
    fractions : share of each split, summing to 1
    """
    held = (
        cohort.groupby(["class_id", "patient_id"]).size().rename("images").reset_index("patient_id")
    )
    held["position"] = held["patient_id"].map(positions(cohort["patient_id"].unique(), seed))
    held = held.sort_values(["position", "patient_id"])
    patients = held.groupby(level="class_id").size().sort_values(kind="stable")
    split = pd.Series(dtype=object)
    wanted = pd.Series(fractions)
    for class_id in patients.index:
        images = held.loc[[class_id]].set_index("patient_id")["images"]
        there = images.groupby(images.index.map(split)).sum()
        lacking = (wanted * images.sum()).sub(there, fill_value=0).clip(lower=0)[wanted.index]
        open_ = images[~images.index.isin(split.index)]
        split = pd.concat([split, cut(open_, lacking)])
    return cohort["patient_id"].map(split)


def one_fold(cohort: pd.DataFrame, folds: int, fold: int, seed: int) -> pd.Series:
    """Deal patients into equal parts as by `stratified`: one is test, the next one validation.

    The parts depend on the cohort, their number and the seed alone: over the folds every patient
    is in the test once, in validation once, and in training otherwise. Another seed deals again.

    Parameters
    ----------
    folds : number of parts, 3 at least
    fold : the part that is test, from 0; after the last part comes the first
    """
    part = stratified(cohort, dict.fromkeys(range(folds), 1 / folds), seed).astype(int)
    return ((part - fold) % folds).map({0: "test", 1: "val"}).fillna("train")


def cut(images: pd.Series, lacking: pd.Series) -> pd.Series:
    """Divide patients, in their order, in the proportions of the images that splits lack.

    Parameters
    ----------
    images : number of images, by patient
    lacking : number of images, by split
    """
    names = lacking.index
    middle = images.cumsum() - images / 2
    shares = np.cumsum(lacking.to_numpy())[:-1] / max(lacking.sum(), 1e-9) * images.sum()
    cuts = np.searchsorted(middle, shares)
    spare = len(images) - len(names)
    if spare >= 0:  # one patient at least between two cuts
        earlier = np.arange(1, len(names))
        cuts = np.maximum.accumulate(np.clip(cuts - earlier, 0, spare)) + earlier
    number = np.searchsorted(cuts, np.arange(len(images)), side="right")
    return pd.Series(names.to_numpy(dtype=object)[number], index=images.index)


def hashed(cohort: pd.DataFrame, fractions: Mapping[str, float], seed: int) -> pd.Series:
    """Divide patients by a hash of their id: a patient's split depends on no other patient."""
    position = positions(cohort["patient_id"].unique(), seed)
    cuts = np.cumsum(list(fractions.values()))[:-1]
    number = np.searchsorted(cuts, list(position.values()), side="right")
    split = dict(zip(position, np.array(list(fractions), dtype=object)[number], strict=True))
    return cohort["patient_id"].map(split)


def official(
    cohort: pd.DataFrame,
    train_val: Collection[str],
    test: Collection[str],
    fractions: Mapping[str, float],
    seed: int,
    val: Collection[str] | None = None,
) -> pd.Series:
    """Follow a data set's own lists of image ids, and take validation from the training list.

    Validation is what `val` names or, without it, dealt out as by `stratified`, with the share
    val / (train + val).

    Raises
    ------
    InputError
        If an image stands on no list, or a patient on two.
    """
    in_test = cohort["image_id"].isin(set(test))
    in_train = cohort["image_id"].isin(set(train_val))
    in_val = cohort["image_id"].isin(set(val or ()))
    nowhere = sorted(cohort.loc[~in_test & ~in_train, "image_id"])
    if nowhere:
        raise InputError(
            f"{len(nowhere)} images of the cohort stand on neither official list: "
            f"{few(nowhere)}. Give the lists of this data set (split.train_val_list, "
            "split.test_list), or another split.method."
        )
    outside = sorted(cohort.loc[in_val & ~in_train, "image_id"])
    if outside:
        raise InputError(
            f"{len(outside)} images for validation do not stand on the training list: {few(outside)}. "
            "split.val_list names some of split.train_val_list; correct the lists."
        )
    for one, other, names in (
        (in_train, in_test, "both official lists"),
        (in_train & ~in_val, in_val, "the list for validation and are in training as well"),
    ):
        both = sorted(set(cohort.loc[one, "patient_id"]) & set(cohort.loc[other, "patient_id"]))
        if both:
            raise InputError(
                f"{len(both)} patients stand on {names}: {few(both)}. All images of a "
                "patient must be on one side; correct the lists, or use another split.method."
            )
    split = pd.Series("test", index=cohort.index, dtype=object)
    if val is not None:
        split[in_train] = np.where(in_val[in_train], "val", "train")
    elif in_train.any():
        share = fractions["val"] / (fractions["train"] + fractions["val"])
        split[in_train] = stratified(cohort[in_train], {"train": 1 - share, "val": share}, seed)
    return split


def positions(patients: Collection[str], seed: int) -> dict[str, float]:
    """Return a place in [0, 1) for each patient, from the hash of the seed and the patient's id."""
    return {patient: (seed_for(seed, "split", patient) >> 10) / 2**53 for patient in patients}


def require_all_classes(cohort: pd.DataFrame, split: pd.Series, folds: int | None = None) -> None:
    """Raise InputError if a class has no image of its own in some split.

    An image with other findings as well does not count: none that judges would use it. `folds` is
    the number of parts that patients were dealt into; None: one part per split.
    """
    alone = single_finding(cohort)
    names = sorted(set(cohort["class_name"]))
    images = pd.crosstab(cohort.loc[alone, "class_name"], split[alone])
    images = images.reindex(index=names, columns=list(SPLITS), fill_value=0)
    patients = cohort[alone].groupby("class_name")["patient_id"].nunique()
    lines = [
        f"\n  {name} has no image in {' and '.join(row.index[row == 0])}; it has {row.sum()} images "
        f"of {patients.get(name, 0)} patients"
        for name, row in images.iterrows()
        if (row == 0).any()
    ]
    if lines:
        only = "" if alone.all() else ", with images of it and no other finding; those alone count"
        least, remedy = (
            "three",
            "split.method stratified, another split.seed or larger split.fractions",
        )
        if folds is not None:
            least, remedy = f"{folds}", "fewer split.folds or another split.seed"
        raise InputError(
            f"every class must be in every split, or it can be neither learned nor judged:"
            f"{''.join(lines)}\nA class needs {least} patients at least{only}. Remove it from "
            f"cohort.classes or add patients; with enough patients, use {remedy}."
        )
