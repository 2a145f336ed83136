"""Split the cohort by patient into training, validation and test."""

from collections.abc import Mapping
from pathlib import Path

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.runtime import log, step
from workflow_scripts.common.schemas import COHORT, SPLIT, SPLITS
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.curate import splitting


def split_patients(
    cohort: Path,
    outputs: Mapping[str, Path],
    method: str,
    seed: int,
    fractions: Mapping[str, float] | None = None,
    train_val_list: Path | None = None,
    test_list: Path | None = None,
    val_list: Path | None = None,
    folds: int | None = None,
    fold: int | None = None,
) -> None:
    """Write one CSV (SPLIT) per split, sorted by image.

    Parameters
    ----------
    cohort : parquet, COHORT
    outputs : path of the CSV of "train", "val" and "test"
    method : "stratified", "hash", "official" or "folds"
    fractions : shares of "train", "val" and "test", summing to 1; for all but "folds"
    train_val_list, test_list : text files with one image id per line, for "official"
    val_list : the same of those in `train_val_list` that are for validation; None: dealt out
    folds, fold : number of equal parts, and which of them, from 0, is the test; for "folds"

    Raises
    ------
    InputError
        If a class has no image of its own in some split, or the official lists do not fit the cohort.
    """
    images = read_table(cohort, COHORT).sort_values("image_id")
    if fractions is not None:
        fractions = {name: fractions[name] for name in SPLITS}
    if method == "folds":
        split = splitting.one_fold(images, folds, fold, seed)
    elif method == "official":
        lists = read_list(train_val_list), read_list(test_list)
        val = None if val_list is None else read_list(val_list)
        split = splitting.official(images, *lists, fractions, seed, val)
    elif method == "hash":
        split = splitting.hashed(images, fractions, seed)
    else:
        split = splitting.stratified(images, fractions, seed)
    splitting.require_all_classes(images, split, folds)
    for name in SPLITS:
        part = images[split == name]
        write_table(part[list(SPLIT.columns)], outputs[name], SPLIT)
        log.info("%s: %d images of %d patients", name, len(part), part["patient_id"].nunique())


def read_list(path: Path) -> list[str]:
    """Return the image ids of a text file, one per line."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8 ({error}); give one id per line.") from None
    return [line.strip() for line in lines if line.strip()]


if __name__ == "__main__":
    with step(snakemake) as config:
        split_patients(
            Path(snakemake.input.cohort),
            {name: Path(snakemake.output[name]) for name in SPLITS},
            train_val_list=snakemake.input.get("train_val_list"),
            test_list=snakemake.input.get("test_list"),
            val_list=snakemake.input.get("val_list"),
            **config,
        )
