"""What a table says of subjects."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from workflow_scripts.common.errors import InputError, few
from workflow_scripts.formats.csv_tables import header_of, rows_of, some_lines


def read_column(path: str | Path, name: str, key: str, advice: str) -> list[str]:
    """Return a column of a CSV as text.

    Parameters
    ----------
    path, name : of the file and of the column
    key : of the configuration that names the column
    advice : what to do if there is no such column
    """
    return list(columns_of(path, {name: key}, advice)[name])


def read_subjects(path: str | Path, columns: Mapping[str, str | None]) -> dict[str, dict[str, str]]:
    """Return what a CSV with a row for each subject says of them, by subject.

    Parameters
    ----------
    path : the CSV, compressed or not
    columns : from `subject`, `findings`, `age` and `sex` to the table's names; None where it has none

    Raises
    ------
    InputError
        If the file is no CSV or lacks a column, or names no subject in a row or says two things of one.
    """
    names = {theirs: f"dataset.nifti.columns.{ours}" for ours, theirs in columns.items() if theirs}
    table = columns_of(path, names, "Name one of them there, or give another table")
    table = pd.DataFrame({ours: table[theirs] for ours, theirs in columns.items() if theirs})
    lines = table.index[table["subject"] == ""]
    if len(lines):
        raise InputError(
            f"{path} names no subject (column {columns['subject']}) on {some_lines(lines)}. Complete "
            "or remove these lines."
        )
    table = table.drop_duplicates()
    twice = sorted(set(table["subject"][table["subject"].duplicated()]))
    if twice:
        raise InputError(
            f"{path} says different things of {len(twice)} subjects: {few(twice)}. One row per "
            "subject: remove the others."
        )
    return {row["subject"]: row for row in table.to_dict("records")}


def columns_of(path: str | Path, columns: Mapping[str, str], advice: str) -> pd.DataFrame:
    """Return columns of a CSV as `rows_of` has them; `columns` says what key names each."""
    header = header_of(path)
    for name, key in columns.items():
        if name not in header:
            raise InputError(
                f"{path} has no column {name} ({key}); there are {few(header, 20) or 'none at all'}. "
                f"{advice}."
            )
    return rows_of(path, header)[list(columns)]
