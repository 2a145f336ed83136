"""Tables as they are handed out: CSV, compressed or not, every value still the text that stood there,
without the spaces around it."""

import csv
import gzip
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from workflow_scripts.common.errors import InputError, few

UNREADABLE = (
    UnicodeError,
    pd.errors.ParserError,
    pd.errors.ParserWarning,
    csv.Error,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
)


def header_of(path: str | Path, brackets: bool = False) -> list[str]:
    """Return the names of a CSV's columns, `column 3` for the third if it has none; of an empty file none.

    Parameters
    ----------
    path : the CSV
    brackets : whether a name such as `OriginalImage[Width,Height]` is of two columns, with or without
        quotes, as in NIH's table

    Raises
    ------
    InputError
        If the file is no CSV, or two columns have the same name.
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
        two = brackets and "[" in name and name.endswith("]")
        names.extend(name.split(",") if two else [name])
    # Without a name: the comma at the end of each line in the 2017 edition of NIH's table.
    names = [name.strip() or f"column {number}" for number, name in enumerate(names, start=1)]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(
            f"{path} has more than one column {', '.join(repeated)}; name each column once."
        )
    return names


def rows_of(path: str | Path, header: Sequence[str]) -> pd.DataFrame:
    """Return the rows of a CSV below its first line, but those that say nothing at all.

    Parameters
    ----------
    path : the CSV
    header : the names of its columns, as of `header_of`

    Returns
    -------
    DataFrame of str, stripped of spaces, "" where a line ends early, with the line of the file as the
    index.

    Raises
    ------
    InputError
        If the file is no CSV, or a line has more values than there are names.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            table = pd.read_csv(
                path, header=None, skiprows=1, names=header, index_col=False,
                dtype=str, keep_default_na=False, encoding="utf-8-sig", skip_blank_lines=False,
            )  # fmt: skip
        except pd.errors.EmptyDataError:
            table = pd.DataFrame(columns=list(header), dtype=str)
        except UNREADABLE as error:
            raise not_csv(path, error) from None
    # "12" and "12 " are one patient, who must not come into two splits.
    table = table.fillna("").apply(lambda column: column.str.strip())
    table.index = table.index + 2
    return table[(table != "").any(axis=1)]


def not_csv(path: str | Path, error: Exception) -> InputError:
    """Say that a file cannot be read as CSV, and where it goes wrong."""
    reason = " ".join(str(error).split()).removeprefix("Error tokenizing data. C error: ")
    return InputError(
        f"{path} cannot be read as a table: {reason}. Give a CSV in UTF-8 (it may be compressed "
        "with gzip) with as many values on each line as its first line has names."
    )


def some_lines(lines: pd.Index) -> str:
    """Return the first few lines of many."""
    return f"line{'s' * (len(lines) > 1)} {few([str(line) for line in lines])}"
