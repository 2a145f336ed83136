"""Label tables as they are handed out: CSV, every value still the text that stood there,
without the spaces around it."""

import csv
import gzip
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from workflow_scripts.common.errors import InputError, few

NIH_COLUMNS = {
    "image_id": "Image Index",
    "patient_id": "Patient ID",
    "findings": "Finding Labels",
    "age": "Patient Age",
    "sex": "Patient Gender",
    "view": "View Position",
    "follow_up": "Follow-up #",
}
UNREADABLE = (
    UnicodeError,
    pd.errors.ParserError,
    pd.errors.ParserWarning,
    csv.Error,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
)


def read_label_table(path: str | Path, columns: Mapping[str, str | None]) -> pd.DataFrame:
    """Read a label table, compressed or not, and check that its images can be told apart.

    Parameters
    ----------
    path : the CSV
    columns : from our name of a column to the table's; None where the table has no such column

    Returns
    -------
    DataFrame of str, stripped of spaces, with the columns named by us, those without a source left out, and the line
    of the file as the index.

    Raises
    ------
    InputError
        If the file is no CSV, is empty, lacks a column, lacks ids or repeats an image.
    """
    path = Path(path)
    columns = {ours: theirs for ours, theirs in columns.items() if theirs is not None}
    header = header_of(path)
    absent = [name for name in columns.values() if name not in header]
    if absent:
        raise InputError(
            f"{path} lacks the column{'s' * (len(absent) > 1)} {', '.join(absent)}; its first line "
            f"names {', '.join(header) or 'nothing'}. Give another table, or, for the kinds folder "
            "and dicom, name this table's columns in dataset.folder.columns."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            table = pd.read_csv(
                path, header=None, skiprows=1, names=header, index_col=False,
                dtype=str, keep_default_na=False, encoding="utf-8-sig", skip_blank_lines=False,
            )  # fmt: skip
        except pd.errors.EmptyDataError:
            table = pd.DataFrame(columns=header, dtype=str)
        except UNREADABLE as error:
            raise not_csv(path, error) from None
    table = table[list(columns.values())].set_axis(list(columns), axis=1).fillna("")
    # "12" and "12 " are one patient, who must not come into two splits.
    table = table.apply(lambda column: column.str.strip())
    table.index = table.index + 2
    table = table[(table != "").any(axis=1)]
    if table.empty:
        raise InputError(f"{path} has no row below its first line; give a table with images.")
    for ours, what in (("image_id", "image"), ("patient_id", "patient")):
        lines = table.index[table[ours] == ""]
        if len(lines):
            raise InputError(
                f"{path} names no {what} (column {columns[ours]}) on {some_lines(lines)}. Every "
                "image needs its id and its patient's; complete or remove these lines."
            )
    repeated = table[table["image_id"].duplicated(keep=False)]
    if len(repeated):
        ids = repeated["image_id"].unique()
        examples = [
            f"{name} (lines {', '.join(map(str, lines[:3]))})"
            for name, lines in repeated.groupby("image_id", sort=False).groups.items()
        ]
        raise InputError(
            f"{path} holds {len(ids)} image{'s' * (len(ids) > 1)} more than once: "
            f"{few(examples)}. One row per image: remove the others."
        )
    return table


def header_of(path: Path) -> list[str]:
    """Return the names of a CSV's columns.

    NIH's header writes `OriginalImage[Width,Height]` for two columns: with or without quotes
    around them, names in brackets count as two.
    """
    try:
        first = pd.read_csv(
            path, header=None, nrows=1, dtype=str, keep_default_na=False, encoding="utf-8-sig"
        )
    except pd.errors.EmptyDataError:
        return []
    except UNREADABLE as error:
        raise not_csv(path, error) from None
    names = []
    for name in first.iloc[0]:
        names.extend(name.split(",") if "[" in name and name.endswith("]") else [name])
    # Without a name: the comma at the end of each line in the 2017 edition.
    names = [name.strip() or f"column {number}" for number, name in enumerate(names, start=1)]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(
            f"{path} has more than one column {', '.join(repeated)}; name each column once."
        )
    return names


def not_csv(path: Path, error: Exception) -> InputError:
    """Say that a file cannot be read as CSV, and where it goes wrong."""
    reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
    return InputError(
        f"{path} cannot be read as a table: {reason}. Give a CSV in UTF-8 (it may be compressed "
        "with gzip) with as many values on each line as its first line has names."
    )


def some_lines(lines: pd.Index) -> str:
    """Return the first few lines of many."""
    return f"line{'s' * (len(lines) > 1)} {few([str(line) for line in lines])}"
