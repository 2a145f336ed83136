"""Findings: as people write them, and as the columns that they become."""

import csv
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pandas as pd

VOCABULARY = Path(__file__).resolve().parents[2] / "resources" / "findings.tsv"
NO_FINDING = "no_finding"


def column_name(finding: str) -> str:
    """Return the column of a finding: "Pleural_Thickening" becomes "pleural_thickening"."""
    return re.sub(r"[\W_]+", "_", finding.lower()).strip("_")


@cache
def vocabulary() -> dict[str, str]:
    """Return the findings of NIH ChestX-ray14, from the column to the name as people write it."""
    with VOCABULARY.open(encoding="utf-8", newline="") as stream:
        return {row["column"]: row["name"] for row in csv.DictReader(stream, delimiter="\t")}


def single_finding(images: pd.DataFrame) -> pd.Series:
    """Return which images show their class and no other finding: bool, parallel to `images`.

    Whatever judges (the classifier, the measures, the study) knows one class per image. It takes
    these images alone; a model may be trained on the others as well.

    Parameters
    ----------
    images : columns `findings` and `class_name`, of COHORT, METADATA or IMAGES
    """
    return images["findings"] == images["class_name"]


def titles(columns: Iterable[str], classes: Iterable[str] = ()) -> dict[str, str]:
    """Return how to write the finding of each column: as a class, as NIH's, or as the column."""
    known = vocabulary() | {column_name(name): name for name in classes}
    return {column: known.get(column, column) for column in columns}
