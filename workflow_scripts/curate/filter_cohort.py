"""Filter the labels to the configured classes, and keep the reason of every exclusion."""

from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.findings import column_name, titles
from workflow_scripts.common.runtime import log, step
from workflow_scripts.common.schemas import COHORT, EXCLUSIONS, LABELS
from workflow_scripts.common.tables import read_table, write_table

NONE = "no finding stated"
SEVERAL = "several findings"
OTHER = "finding not among the classes"


def filter_cohort(labels: Path, cohort: Path, exclusions: Path, classes: list[str]) -> None:
    """Write the images that carry exactly one finding, one of `classes`, and all the others.

    `cohort` (COHORT) and `exclusions` (EXCLUSIONS) hold every image of `labels` once between them.

    Raises
    ------
    InputError
        If a class has no image.
    """
    kept, dropped = divided(read_table(labels, LABELS), classes)
    write_table(kept, cohort, COHORT)
    write_table(dropped, exclusions, EXCLUSIONS)
    log.info("%d images of %d patients", len(kept), kept["patient_id"].nunique())
    for reason, count in dropped["reason"].value_counts().sort_index().items():
        log.info("%d excluded: %s", count, reason)


def divided(labels: pd.DataFrame, classes: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return cohort and exclusions, each in the order of `labels`."""
    names = titles(labels.select_dtypes("bool").columns, classes)
    flags = labels[list(names)].to_numpy(dtype=bool)
    title = np.array(list(names.values()), dtype=object)
    class_of = {column_name(name): number for number, name in enumerate(classes)}
    class_of_column = np.array([class_of.get(column, -1) for column in names])

    count = flags.sum(axis=1)
    single = count == 1
    first = flags.argmax(axis=1)
    class_id = np.where(single, class_of_column[first], -1)
    inside = class_id >= 0
    absent = [name for number, name in enumerate(classes) if not (class_id == number).any()]
    if absent:
        found = pd.Series(title[first[single]]).value_counts(sort=False).sort_index()
        listed = ", ".join(f"{name} ({number})" for name, number in found.items())
        raise InputError(
            f"no image carries exactly one finding that is {' or '.join(absent)}. The images with "
            f"exactly one finding have {listed or 'none at all'}. Change cohort.classes, or check "
            "the spelling in the label table (dataset.folder.aliases)."
        )
    kept = labels.loc[inside, ["image_id", "patient_id", "age_years", "sex", "view"]].assign(
        class_id=class_id[inside].astype("int64"),
        class_name=np.array(classes, dtype=object)[class_id[inside]],
    )
    reason = np.select([count == 0, count > 1], [NONE, SEVERAL], OTHER)
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
        )
