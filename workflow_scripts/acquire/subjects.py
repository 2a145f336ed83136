"""What a table says of subjects."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from workflow_scripts.common.errors import InputError, few


def read_column(path: str | Path, name: str, key: str, advice: str) -> list[str]:
    """Return a column of a CSV as text.

    Parameters
    ----------
    path, name : of the file and of the column
    key : of the configuration that names the column
    advice : what to do if there is no such column
    """
    return list(read_csv(path, {name: key}, advice)[name])


def read_subjects(path: str | Path, columns: Mapping[str, str | None]) -> dict[str, dict[str, str]]:
    """Return what a CSV with a row for each subject says of them, by subject.

    Parameters
    ----------
    path : the CSV, compressed or not
    columns : from `subject`, `findings`, `age` and `sex` to the table's names; None where it has none

    Raises
    ------
    InputError
        If the file is no CSV or lacks a column, or says two things of one subject.
    """
    names = {theirs: f"dataset.nifti.columns.{ours}" for ours, theirs in columns.items() if theirs}
    table = read_csv(path, names, "Name one of them there, or give another table")
    table = pd.DataFrame(
        {ours: table[theirs] for ours, theirs in columns.items() if theirs}
    ).drop_duplicates()
    twice = sorted(set(table["subject"][table["subject"].duplicated()]))
    if twice:
        raise InputError(
            f"{path} says different things of {len(twice)} subjects: {few(twice)}. One row per "
            "subject: remove the others."
        )
    return {row["subject"]: row for row in table.to_dict("records")}


def read_csv(path: str | Path, columns: Mapping[str, str], advice: str) -> pd.DataFrame:
    """Return columns of a CSV as text without spaces around it; `columns` says what key names each."""
    try:
        table = pd.read_csv(
            path, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False
        )
    except (UnicodeError, ValueError, EOFError) as error:  # pandas' own are ValueErrors
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} cannot be read as a table: {reason}. Give a CSV in UTF-8."
        ) from None
    table.columns = [str(name).strip() for name in table.columns]
    for name, key in columns.items():
        if name not in table:
            raise InputError(
                f"{path} has no column {name} ({key}); there are {few(list(table.columns), 20)}. "
                f"{advice}."
            )
    return table[list(columns)].apply(lambda column: column.str.strip())
