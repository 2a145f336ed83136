"""Filter the labels to the configured classes, and keep the reason of every exclusion."""

from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.findings import NO_FINDING, column_name, titles
from workflow_scripts.common.runtime import log, step
from workflow_scripts.common.schemas import COHORT, EXCLUSIONS, LABELS
from workflow_scripts.common.tables import read_table, write_table

NONE = "no finding stated"
SEVERAL = "several findings"
OTHER = "finding not among the classes"
CONTRADICTION = "No Finding beside another finding"


def filter_cohort(
    labels: Path, cohort: Path, exclusions: Path, classes: list[str], several: bool = False
) -> None:
    """Write the images whose findings are known and all of `classes`, and all the others.

    `cohort` (COHORT) and `exclusions` (EXCLUSIONS) hold every image of `labels` once between them.

    Parameters
    ----------
    several : whether an image may carry more findings than one

    Raises
    ------
    InputError
        If a class has no image of its own, without another finding.
    """
    kept, dropped = divided(read_table(labels, LABELS), classes, several)
    write_table(kept, cohort, COHORT)
    write_table(dropped, exclusions, EXCLUSIONS)
    log.info("%d images of %d patients", len(kept), kept["patient_id"].nunique())
    for reason, count in dropped["reason"].value_counts().sort_index().items():
        log.info("%d excluded: %s", count, reason)


def divided(
    labels: pd.DataFrame, classes: list[str], several: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return cohort and exclusions, each in the order of `labels`.

    The class of an image with several findings is the one that fewest images of the cohort carry,
    so that what is balanced by class does most for the rare ones; of two equal ones the first.
    """
    stated = labels.select_dtypes("bool")
    flags = stated.to_numpy()
    title = np.array(list(titles(stated.columns, classes).values()), dtype=object)
    healthy, *shown = (
        stated.get(name, pd.Series(False, stated.index)).to_numpy()
        for name in (NO_FINDING, *map(column_name, classes))
    )
    shown = np.stack(shown, axis=1)

    count = flags.sum(axis=1)
    single = count == 1
    contradictory = healthy & (count > 1)
    inside = (shown.sum(axis=1) == count) & (count > 0) & (single | several) & ~contradictory
    absent = [name for name, own in zip(classes, shown[single].T, strict=True) if not own.any()]
    if absent:
        found = pd.Series(title[flags[single].argmax(axis=1)]).value_counts(sort=False).sort_index()
        listed = ", ".join(f"{name} ({number})" for name, number in found.items())
        raise InputError(
            f"no image carries exactly one finding that is {' or '.join(absent)}. The images with "
            f"exactly one finding have {listed or 'none at all'}. Change cohort.classes, or check "
            "the spelling in the labels (`aliases` of the data set, or of the kinds hdf5 and idx "
            "`findings`)."
        )
    carried, name = shown[inside], np.array(classes, dtype=object)
    rarity = np.argsort(np.argsort(carried.sum(axis=0), kind="stable"))
    class_id = np.where(carried, rarity, len(classes)).argmin(axis=1)
    kept = labels.loc[inside, ["image_id", "patient_id", "age_years", "sex", "view"]].assign(
        class_id=class_id,
        class_name=name[class_id],
        findings=["|".join(name[row]) for row in carried],
    )
    reason = np.select(
        [count == 0, contradictory & several, (count > 1) & (not several)],
        [NONE, CONTRADICTION, SEVERAL],
        OTHER,
    )
    dropped = labels.loc[~inside, ["image_id", "patient_id"]].assign(
        reason=reason[~inside],
        detail=np.array(["|".join(title[row]) for row in flags[~inside]], dtype=str),
    )
    return kept, dropped


if __name__ == "__main__":
    with step(snakemake) as config:
        filter_cohort(
            Path(snakemake.input.labels),
            Path(snakemake.output.cohort),
            Path(snakemake.output.exclusions),
            config["classes"],
            several=config["labels"] == "multi",
        )
