"""Check, from the files alone, that no patient is in two splits and no image is lost."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from workflow_scripts.common.errors import InputError, few
from workflow_scripts.common.files import write_text
from workflow_scripts.common.findings import column_name
from workflow_scripts.common.runtime import log, step
from workflow_scripts.common.schemas import COHORT, LABELS, SPLIT, SPLITS
from workflow_scripts.common.tables import read_table


def check_leaks(
    labels: Path,
    cohort: Path,
    splits: Mapping[str, Path],
    report: Path,
    settings: Mapping[str, Any],
) -> None:
    """Write the split report (JSON), or fail with everything that is wrong with the splits.

    Shares no code with the splitter: a patient is who `labels` says, not who a split says.

    Parameters
    ----------
    labels, cohort : parquet, LABELS and COHORT
    splits : CSV (SPLIT) of "train", "val" and "test"
    settings : what the report says of how the split was made

    Raises
    ------
    InputError
        Naming patients in two splits, images lost, repeated or strange, and rows that differ.
    """
    people = read_table(labels, LABELS)
    images = read_table(cohort, COHORT)
    parts = {name: read_table(splits[name], SPLIT) for name in SPLITS}
    rows = pd.concat([part.assign(split=name) for name, part in parts.items()], ignore_index=True)
    found = [
        *lost(rows, images),
        *shared(rows, people),
        *differing(rows, images, people),
        *mislabelled(images, people),
    ]
    if found:
        lines = "".join(f"\n  {line}" for line in found)
        raise InputError(
            f"the splits in {splits['train'].parent} leak or lose images:{lines}\nRemove them and "
            "run again; if nobody edited them, this is a defect of Synthorax: please report it."
        )
    counts = {
        "images": {name: tally(part["class_name"], images) for name, part in parts.items()},
        "patients": {
            name: tally(part.drop_duplicates(["patient_id", "class_name"])["class_name"], images)
            | {"all": part["patient_id"].nunique()}
            for name, part in parts.items()
        },
    }
    # Reached only if it is 0; counted all the same.
    splits_of = rows.groupby("patient_id")["split"].nunique()
    counts["patients_shared_between_splits"] = int((splits_of > 1).sum())
    write_text(report, json.dumps({**settings, **counts}, indent=2, ensure_ascii=False) + "\n")
    log.info("%d images, each in one split; no patient in two", len(rows))


def lost(rows: pd.DataFrame, images: pd.DataFrame) -> list[str]:
    """Say which images of the cohort are in no split or in several, and which are not of it."""
    repeated = rows[rows["image_id"].duplicated(keep=False)]
    places = repeated.groupby("image_id")["split"].agg(" and ".join)
    absent = sorted(set(images["image_id"]) - set(rows["image_id"]))
    strange = sorted(set(rows["image_id"]) - set(images["image_id"]))
    twice = [f"{name} ({where})" for name, where in places.items()]
    return [
        f"{len(names)} images {what}: {few(names)}"
        for names, what in (
            (absent, "of the cohort are in no split"),
            (strange, "in the splits are not of the cohort"),
            (twice, "are in more than one split"),
        )
        if names
    ]


def shared(rows: pd.DataFrame, people: pd.DataFrame) -> list[str]:
    """Say which patients, by the label table or by the splits themselves, are in two splits."""
    owner = rows["image_id"].map(people.set_index("image_id")["patient_id"])
    both = pd.concat([rows.assign(patient_id=owner), rows])
    places = both.dropna(subset="patient_id")[["patient_id", "split"]].drop_duplicates()
    places = places[places["patient_id"].duplicated(keep=False)]
    found = places.groupby("patient_id")["split"].agg(" and ".join)
    who = [f"{name} ({where})" for name, where in found.items()]
    return [f"{len(who)} patients are in more than one split: {few(who)}"] if who else []


def differing(rows: pd.DataFrame, images: pd.DataFrame, people: pd.DataFrame) -> list[str]:
    """Say where patient or class of an image are not the same in splits, cohort and labels."""
    lines, known = [], rows["image_id"].isin(images["image_id"])
    for column, tables in (
        ("patient_id", {"the cohort": images, "the labels": people}),
        ("class_id", {"the cohort": images}),
        ("class_name", {"the cohort": images}),
    ):
        for where, table in tables.items():
            there = rows["image_id"].map(table.set_index("image_id")[column])
            wrong = sorted(rows.loc[known & (there != rows[column]), "image_id"])
            if wrong:
                lines.append(f"{len(wrong)} images have another {column} in {where}: {few(wrong)}")
    return lines


def mislabelled(images: pd.DataFrame, people: pd.DataFrame) -> list[str]:
    """Say which images of the cohort the labels do not give exactly these findings."""
    table = people.set_index("image_id").select_dtypes(bool)
    columns = table.columns.to_numpy()
    flags = table.reindex(images["image_id"], fill_value=False).to_numpy()
    wrong = sorted(
        image.image_id
        for image, row in zip(images.itertuples(), flags, strict=True)
        if image.class_name not in (named := image.findings.split("|"))
        or {*columns[row]} != {*map(column_name, named)}
    )
    what = "have another class or other findings in the labels"
    lines = [f"{len(wrong)} images {what}: {few(wrong)}"] if wrong else []
    names = images[["class_id", "class_name"]].drop_duplicates()
    for one, other in (("class_id", "class_name"), ("class_name", "class_id")):
        mixed = names[names[one].duplicated()][one].unique()
        lines += [f"{one} {value} stands for more than one {other}" for value in mixed]
    return lines


def tally(names: pd.Series, images: pd.DataFrame) -> dict[str, int]:
    """Count each class, in the order of class_id, and all."""
    classes = images.sort_values("class_id")["class_name"].unique()
    counts = names.value_counts()
    return {name: int(counts.get(name, 0)) for name in classes} | {"all": len(names)}


if __name__ == "__main__":
    with step(snakemake) as config:
        check_leaks(
            Path(snakemake.input.labels),
            Path(snakemake.input.cohort),
            {name: Path(snakemake.input[name]) for name in SPLITS},
            Path(snakemake.output.report),
            config,
        )
