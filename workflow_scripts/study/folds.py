"""The folds of a cross-validation: read from the runs that made them, and told to fit together."""

import json
from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.errors import InputError, few
from workflow_scripts.study.summarise_study import read_predictions


@dataclass(frozen=True)
class Fold:
    """What one run predicted for the patients that it was not trained on.

    Attributes
    ----------
    dataset : name of the run's data set
    seed, folds, fold : how its patients were dealt, and which part is the test
    test : image_id, patient_id, class_id, class_name, sex, view, sorted by image_id
    probabilities : float (arms, seeds, images, classes)
    """

    dataset: str
    seed: int
    folds: int
    fold: int
    test: pd.DataFrame
    probabilities: np.ndarray


def read_fold(
    dataset: str,
    split_report: Path,
    predictions: list[Path],
    arms: list[str],
    seeds: list[int],
    classes: list[str],
) -> Fold:
    """Read one run.

    Parameters
    ----------
    split_report : JSON of the run's split, with its `method`, `folds`, `fold` and `seed`
    predictions : one file (PREDICTIONS) per arm and seed, in any order

    Raises
    ------
    InputError
        If the run is no fold, lacks an arm or seed, or has other classes.
    """
    split = json.loads(split_report.read_text(encoding="utf-8"))
    if split["method"] != "folds":
        raise InputError(
            f"{split_report}: the patients of {dataset} were split by method {split['method']}, so "
            "that it is no fold of a cross-validation. Run it with split.method folds, or remove "
            "it from cross_validation.datasets."
        )
    try:
        test, probabilities = read_predictions(predictions, arms, seeds, classes)
    except InputError as error:
        raise InputError(f"data set {dataset}: {error}") from None
    found = test[["class_id", "class_name"]].drop_duplicates().sort_values("class_id")
    named = dict(found.itertuples(index=False))
    if any(dict(enumerate(classes)).get(number) != name for number, name in named.items()):
        raise InputError(
            f"the classes of {dataset} are others than those of this configuration "
            f"({', '.join(classes)}): it has {', '.join(f'{number} {name}' for number, name in named.items())} "
            "by number. Give every fold the same cohort.classes and run it again."
        )
    return Fold(dataset, split["seed"], split["folds"], split["fold"], test, probabilities)


def repeats(folds: list[Fold]) -> list[list[Fold]]:
    """Group folds by the seed that dealt the patients: each group tests every patient once.

    Returns
    -------
    complete repeats by seed, each in the order of its folds

    Raises
    ------
    InputError
        If runs differ in the number of folds, a fold is missing or there twice, a patient is in two
        test sets of a repeat, or repeats test different images.
    """
    if len({fold.folds for fold in folds}) > 1:
        listed = ", ".join(f"{fold.dataset} {fold.folds}" for fold in folds)
        raise InputError(
            f"the runs have different split.folds: {listed}. Run all of them with the same number, "
            "or remove the others from cross_validation.datasets."
        )
    by_seed = defaultdict(list)
    for fold in sorted(folds, key=lambda fold: (fold.seed, fold.fold, fold.dataset)):
        by_seed[fold.seed].append(fold)
    for seed, group in by_seed.items():
        require_complete(seed, group)
        require_apart(seed, group)
    first, *others = by_seed.values()
    for group in others:
        require_same_images(first, group)
    return list(by_seed.values())


def require_complete(seed: int, group: list[Fold]) -> None:
    """Raise InputError unless the folds of a repeat are each there once."""
    for one, other in pairwise(group):
        if one.fold == other.fold:
            raise InputError(
                f"{one.dataset} and {other.dataset} are both fold {one.fold} of split.seed {seed}: "
                "remove one from cross_validation.datasets, or give it another split.fold or "
                "split.seed and run it again."
            )
    number = group[0].folds
    missing = sorted(set(range(number)) - {fold.fold for fold in group})
    if missing:
        raise InputError(
            f"of the {number} folds of split.seed {seed}, {', '.join(map(str, missing))} "
            f"{'is' if len(missing) == 1 else 'are'} missing: some patients would not be tested. "
            "Run with these split.fold, each under a dataset.name of its own, and add the names to "
            "cross_validation.datasets."
        )


def require_apart(seed: int, group: list[Fold]) -> None:
    """Raise InputError if a patient is in the test sets of two folds of a repeat."""
    for one, other in combinations(group, 2):
        both = sorted(set(one.test["patient_id"]) & set(other.test["patient_id"]))
        if both:
            raise InputError(
                f"{len(both)} patients are in the test sets of both {one.dataset} and "
                f"{other.dataset}, folds of split.seed {seed}: {few(both)}. The folds were dealt "
                "from different cohorts: run them again on the same data, with the same cohort."
            )


def require_same_images(one: list[Fold], other: list[Fold]) -> None:
    """Raise InputError unless two repeats test the same images of the same patients."""
    first, second = tested(one), tested(other)
    if not first.equals(second):
        only = sorted(set(first["image_id"]) ^ set(second["image_id"]))
        what = f"{len(only)} images are tested in one alone: {few(only)}" if only else "they differ"
        raise InputError(
            f"the repeats of split.seed {one[0].seed} and {other[0].seed} test different images "
            f"({what}). Run all folds on the same data, with the same cohort."
        )


def tested(repeat: list[Fold]) -> pd.DataFrame:
    """Return the test images of all folds of a repeat, sorted by image_id."""
    images = pd.concat([fold.test for fold in repeat])
    return images.sort_values("image_id", ignore_index=True)
