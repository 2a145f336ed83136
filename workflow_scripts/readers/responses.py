"""What readers sent back, checked against the key before anything is counted."""

import csv
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.errors import InputError, few
from workflow_scripts.common.runtime import log

COLUMNS = ["study", "reader", "item", "real_or_synthetic", "finding"]
SOURCES = ["real", "synthetic"]
ALL_READERS = "all readers"  # stands for a reader where a measure is of all of them together
DOWNLOAD_AGAIN = "Ask the reader to open the page again and to download the answers anew."


@dataclass(frozen=True)
class Answers:
    """What each reader said of each image, in the order of the key.

    readers : names, R of them
    source : float64 (R, items): 0 real, 1 synthetic, NaN where there is no answer
    finding : float64 (R, items): position in the classes, NaN where there is no answer
    """

    readers: list[str]
    source: np.ndarray
    finding: np.ndarray


def read_answers(paths: list[Path], key: pd.DataFrame, classes: list[str]) -> Answers:
    """Read all files of a reader study and say how many answers are missing.

    Parameters
    ----------
    paths : CSV files as the page writes them, one per reader
    key : READER_KEY
    classes : the findings that could be chosen

    Raises
    ------
    InputError
        If a file is not of this study or is damaged, or a reader has two files.
    """
    tables: dict[str, pd.DataFrame] = {}
    sources: dict[str, Path] = {}
    for path in paths:
        table = read_file(path, key, classes)
        reader = table["reader"].iloc[0]
        before = sources.setdefault(identity(reader), path)
        if before is not path:
            raise InputError(
                f"{before} and {path} are both of the reader “{reader}”. Keep one, or "
                "give the readers different names in the column `reader`."
            )
        table = table.set_index("item").reindex(key["item"])
        half = table[["real_or_synthetic", "finding"]].isin(["", None, np.nan])
        if half.any(axis=None):
            log.warning(
                "%s: of %d images %d have no answer to “real or synthetic?” and %d none to the "
                "finding", path, len(key), half["real_or_synthetic"].sum(), half["finding"].sum(),
            )  # fmt: skip
        tables[reader] = table
    readers = sorted(tables)

    def codes(column: str, values: list[str]) -> np.ndarray:
        number = {value: float(position) for position, value in enumerate(values)}
        return np.stack([tables[name][column].map(number).to_numpy(float) for name in readers])

    return Answers(readers, codes("real_or_synthetic", SOURCES), codes("finding", classes))


def read_file(path: Path, key: pd.DataFrame, classes: list[str]) -> pd.DataFrame:
    """Return one reader's rows as text, or say what is wrong with the file."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, csv.Error) as error:  # pandas' own errors are ValueErrors
        raise InputError(f"{path} cannot be read ({error}). {DOWNLOAD_AGAIN}") from None
    if list(table.columns) != COLUMNS or table.isna().any(axis=None):
        raise InputError(
            f"{path} is no file of answers: it must have the columns {', '.join(COLUMNS)}, "
            f"separated by commas, and no row that is cut off. {DOWNLOAD_AGAIN}"
        )
    refuse(
        path,
        "holds no answer",
        [] if table["finding"].any() or table["real_or_synthetic"].any() else [""],
    )
    study = key["study"].iloc[0]
    refuse(
        path,
        f"is not of this reader study, {study}, but of",
        sorted(set(table["study"]) - {study}),
        "Each page has its own id, and a page that was made anew has another: remove the file.",
    )
    table["reader"] = table["reader"].str.split().str.join(" ")
    readers = sorted(set(table["reader"]))
    if len(readers) > 1 or identity(readers[0]) in ("", ALL_READERS):
        raise InputError(
            f"{path} must name one reader, by another name than “{ALL_READERS}”; it names "
            f"{few([repr(name) for name in readers])}. Mend the column `reader`."
        )
    refuse(path, "has items that the study does not have:", unknown(table["item"], key["item"]))
    twice = table["item"][table["item"].duplicated()].unique()
    refuse(path, "answers the same item more than once:", list(twice))
    for column, values in (("real_or_synthetic", SOURCES), ("finding", classes)):
        other = unknown(table[column], ["", *values])
        refuse(path, f"has in the column {column} what cannot be chosen:", other)
    return table


def identity(reader: str) -> str:
    """Return what two spellings of one reader's name share: "Dr. A" and "dr.  a" are one person."""
    return " ".join(unicodedata.normalize("NFKC", reader).casefold().split())


def unknown(found: pd.Series, allowed: list[str] | pd.Series) -> list[str]:
    """Return what is found but not allowed, once each."""
    return list(found[~found.isin(list(allowed))].unique())


def refuse(path: Path, what: str, cases: list[str], advice: str = DOWNLOAD_AGAIN) -> None:
    """Raise an error that names the first of `cases`, if there is any."""
    if cases:
        raise InputError(f"{path} {what} {few(cases)}".rstrip() + f". {advice}")
