"""Searches for anomalies on the page: whether findings are told from health, and where they are.

A method tells findings from health where the 95 % interval of its AUROC lies above chance, and does
better than the autoencoder where that of the paired difference lies above 0. The level of noise was
chosen on validation images. Of single findings nothing is claimed but by their own intervals, and
their number is said.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from workflow_scripts.common.numbers import (
    count,
    fixed,
    known,
    percent,
    setting,
    signed,
    signed_span,
    span,
    things,
)
from workflow_scripts.common.schemas import ENOUGH_PATIENTS, MACRO
from workflow_scripts.report.comparisons import listed

REFERENCE = "autoencoder"
METHODS = {
    "gaussian": "Gaussian noise",
    "simplex": "simplex noise",
    REFERENCE: "autoencoder",
}
MEASURES = {
    "auroc": "Told from health, AUROC",
    "pixel_auroc": "Where it is: pixels, AUROC",
    "average_precision": "Where it is: pixels, average precision",
    "dice": "Where it is: Dice",
    "hit": "Where it is: the largest residual lies inside",
}
UNTOLD = "too few test subjects to tell"


def fewest(summary: pd.DataFrame) -> int:
    """Return the least number of patients that a finding's AUROC, and so their mean, rests on."""
    rows = summary[(summary["measure"] == "auroc") & (summary["class_name"] != MACRO)]
    return int(rows[["positive_patients", "healthy_patients"]].min().min())


def standing(row: Mapping[str, Any], enough: bool) -> tuple[str, str]:
    """Return what an AUROC shows, and in words.

    One of `gain` (told, and better than by the autoencoder), `told`, `loss` (told, but worse),
    `none` (not told) and `unknown`.

    Parameters
    ----------
    row : of ANOMALY_SUMMARY, measure auroc
    enough : whether there are enough test patients
    """
    low, high = row["difference_low"], row["difference_high"]
    if not enough or not known(row["low"]):
        return "unknown", UNTOLD
    if row["low"] <= row["chance"]:
        return "none", "no evidence that findings are told from health"
    text = "findings are told from health"
    if not (known(low) and known(high)) or low <= 0 <= high:
        return "told", f"{text}; no evidence of a difference from the autoencoder"
    if low > 0:
        return "gain", f"{text}, better than by the autoencoder"
    return "loss", f"{text}, but less well than by the autoencoder"


def chosen(summary: pd.DataFrame, measure: str, class_name: str = MACRO) -> list[dict[str, Any]]:
    """Return the rows of a measure at the levels that validation chose, the autoencoder's last."""
    rows = summary[summary["chosen"] & (summary["measure"] == measure)]
    rows = rows[rows["class_name"] == class_name].to_dict("records")
    return sorted(rows, key=lambda row: list(METHODS).index(row["method"]))


def noised(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of methods that noise an image."""
    return [row for row in rows if row["method"] != REFERENCE]


def headline(summary: pd.DataFrame) -> tuple[str, bool]:
    """Return the result in a few words, and whether every kind of noise beats the autoencoder."""
    enough = fewest(summary) >= ENOUGH_PATIENTS
    words: dict[str, list[str]] = {}
    kinds = set()
    for row in noised(chosen(summary, "auroc")):
        kind, text = standing(row, enough)
        kinds.add(kind)
        words.setdefault(text, []).append(METHODS[row["method"]])
    if len(words) == 1:
        ((text, names),) = words.items()
        where = ", with both kinds of noise" if len(names) > 1 and kinds != {"unknown"} else ""
        return f"{text[0].upper()}{text[1:]}{where}", kinds == {"gain"}
    return "; ".join(f"{listed(names)}: {text}" for text, names in words.items()), False


def lead(summary: pd.DataFrame) -> list[str]:
    """Return the sentences below the headline."""
    rows = chosen(summary, "auroc")
    (reference,) = [row for row in rows if row["method"] == REFERENCE]
    sentences = []
    for row in noised(rows):
        difference = "–"
        if known(row["difference"]):
            ends = signed_span(row["difference_low"], row["difference_high"])
            difference = f"{signed(row['difference'])} ({ends})"
        sentences.append(
            f"{sentence_case(METHODS[row['method']])} up to σ/α = {setting(row['level'])}, the level that "
            f"validation images chose: AUROC {with_interval(row)}, mean of findings; difference to "
            f"the autoencoder, {with_interval(reference)}: {difference}."
            f"{of_findings(summary, row)}{of_regions(summary, row)}"
        )
    if (least := fewest(summary)) < ENOUGH_PATIENTS:
        sentences.append(
            f"A class has only {things(least, 'test subject')}, fewer than {ENOUGH_PATIENTS}: intervals "
            "that need it are too narrow to conclude from."
        )
    return sentences


def judged_on(summary: pd.DataFrame) -> str:
    """Return on what the methods were judged, in a sentence."""
    row = chosen(summary, "auroc")[0]
    return (
        f"On {things(row['n_images'], 'test image')} of {things(row['n_patients'], 'subject')}, "
        f"{count(row['positives'])} of them with a finding:"
    )


def of_findings(summary: pd.DataFrame, macro: Mapping[str, Any]) -> str:
    """Return how many findings a method tells from health by themselves."""
    rows = summary[(summary["measure"] == "auroc") & (summary["class_name"] != MACRO)]
    rows = rows[(rows["method"] == macro["method"]) & (rows["level"] == macro["level"])]
    above = int((rows["low"] > rows["chance"]).sum())
    return f" Of {things(len(rows), 'finding')}, the interval of {above} lies above chance."


def of_regions(summary: pd.DataFrame, macro: Mapping[str, Any]) -> str:
    """Return how often the largest residual lies where the finding is, if that is known."""
    for row in chosen(summary, "hit"):
        if row["method"] == macro["method"]:
            return (
                f" Its largest residual lies inside the finding in {percent(row['value'])} "
                f"({span(row['low'], row['high'], percent)}; by chance {percent(row['chance'])}) of the "
                f"{things(row['n_images'], 'image')} whose region is known."
            )
    return ""


def with_interval(row: Mapping[str, Any]) -> str:
    """Return a value with its interval."""
    return f"{fixed(row['value'])} ({span(row['low'], row['high'])})"


def sentence_case(text: str) -> str:
    """Return a text with its first letter in upper case."""
    return text[0].upper() + text[1:]


def tables(summary: pd.DataFrame, classes: list[str]) -> list[dict[str, Any]]:
    """Return a table per measure at the chosen levels: findings by methods, their mean first."""
    found = []
    for measure, title in MEASURES.items():
        rows = []
        for name in [MACRO, *classes]:
            cells = {row["method"]: row for row in chosen(summary, measure, name)}
            if cells:
                rows.append({"name": name, "cells": cells, "first": next(iter(cells.values()))})
        if rows:
            found.append({"title": title, "rows": rows})
    return found


def search(summary: pd.DataFrame, classes: list[str]) -> dict[str, Any]:
    """Return what the page says and shows of one ANOMALY_SUMMARY.

    Parameters
    ----------
    classes : names of the classes
    """
    text, sure = headline(summary)
    methods = [row["method"] for row in chosen(summary, "auroc")]
    return {
        "headline": text,
        "sure": sure,
        "judged_on": judged_on(summary),
        "lead": lead(summary),
        "methods": {name: METHODS[name] for name in methods},
        "tables": tables(summary, classes),
    }
