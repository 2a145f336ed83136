"""Restored images on the page: each method against the classical one, and what may be said of it.

Nearer or farther is a method whose paired 95 % interval excludes 0, of enough patients; where it
holds 0 nothing is claimed. What is said of all conditions at once holds in each of them, so that their
number gives chance no more than one interval does. Where conditions differ, and of several methods,
each interval stands for itself: the more there are, the more leave out 0 by chance. The page says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.common.numbers import fixed, known, signed, signed_span, span, things
from workflow_scripts.common.schemas import ENOUGH_PATIENTS
from workflow_scripts.report.comparisons import listed
from workflow_scripts.report.measures import place

UNTOLD = "too few test subjects to tell"


@dataclass(frozen=True)
class Measure:
    """How a measure is printed, and whether more of it is nearer to the true image."""

    title: str
    unit: str
    digits: int
    rises: bool


MEASURES = {
    "psnr": Measure("PSNR", "dB", 2, True),
    "ssim": Measure("SSIM", "", 3, True),
    "mae": Measure("absolute error", "", 4, False),
    "lpips": Measure("LPIPS", "", 3, False),
    "inconsistency": Measure("inconsistency", "", 4, False),
}


@dataclass(frozen=True)
class Task:
    """What an application restores, in words.

    Attributes
    ----------
    reference : the method that all others are compared with, as SUMMARY names it
    truth : what answers should be near to
    images : what is restored, one of them
    where, everywhere : in one condition, before its name; in all of them
    conditions, methods : names of SUMMARY in words; what is missing stands for itself
    asked, kind : methods that the question is about, and what they are
    """

    reference: str
    truth: str
    images: str
    where: str
    everywhere: str
    conditions: Mapping[str, str]
    methods: Mapping[str, str]
    asked: tuple[str, ...]
    kind: str = "methods"

    def method(self, name: str) -> str:
        return self.methods.get(name, name)

    def condition(self, name: str) -> str:
        return self.conditions.get(name, name)


def finding(row: Mapping[str, Any]) -> str:
    """Return whether a row of RESTORATION_SUMMARY is nearer than the reference.

    One of `gain`, `loss`, `none` (the interval holds 0) and `unknown` (too few patients, or no
    interval).
    """
    low, high = row["difference_low"], row["difference_high"]
    if row["n_patients"] < ENOUGH_PATIENTS or not (known(low) and known(high)):
        return "unknown"
    if low <= 0 <= high:
        return "none"
    return "gain" if (low > 0) == MEASURES[row["metric"]].rises else "loss"


def standing(rows: pd.DataFrame, task: Task) -> tuple[str, str]:
    """Return how one answer of a method stands in one measure over all conditions, and in words.

    Parameters
    ----------
    rows : of RESTORATION_SUMMARY: one method, one number of samples, one metric

    Returns
    -------
    `gain`, `loss`, `none` or `unknown` where all conditions agree, else `mixed`; and the words
    """
    found = {row["condition"]: finding(row) for row in rows.to_dict("records")}
    reference, kinds = task.method(task.reference), set(found.values())
    everywhere = f" {task.everywhere}" if len(found) > 1 else ""
    if "unknown" in kinds:
        return "unknown", UNTOLD
    if len(kinds) > 1:
        words = {"gain": "nearer", "loss": "farther", "none": "no evidence of a difference"}
        parts = [
            f"{text} {task.where} {listed([task.condition(name) for name in found if found[name] == kind])}"
            for kind, text in words.items()
            if kind in kinds
        ]
        return "mixed", f"against {reference}, {', '.join(parts)}"
    (kind,) = kinds
    return kind, {
        "gain": f"nearer to the {task.truth} than {reference}{everywhere}",
        "loss": f"farther from the {task.truth} than {reference}{everywhere}",
        "none": f"no evidence of a difference from {reference}{everywhere}",
    }[kind]


def answers(summary: pd.DataFrame, method: str) -> list[int]:
    """Return the numbers of draws that a method's answers are means of, the largest first."""
    return sorted(summary.loc[summary["method"] == method, "samples"].unique(), reverse=True)


def answer_words(samples: int, drawn: bool) -> str:
    """Return what one answer of a method is."""
    if samples > 1:
        return f"mean of {samples} draws"
    return "one draw" if drawn else ""


def select(summary: pd.DataFrame, method: str, samples: int, metric: str) -> pd.DataFrame:
    """Return the rows of one answer in one measure, a condition each."""
    which = (summary["method"] == method) & (summary["samples"] == samples)
    return summary[which & (summary["metric"] == metric)]


def headline(summary: pd.DataFrame, task: Task) -> tuple[str, bool]:
    """Return the result in a few words, and whether all methods that are asked about are nearer.

    By PSNR, which favours means, of each method's mean of all its draws.
    """
    words: dict[str, list[str]] = {}
    kinds = set()
    for method in task.asked:
        kind, text = standing(select(summary, method, answers(summary, method)[0], "psnr"), task)
        kinds.add(kind)
        words.setdefault(text, []).append(task.method(method))
    if len(words) == 1:
        (text,) = words
        if len(task.asked) > 1:
            number = "both" if len(task.asked) == 2 else f"all {len(task.asked)}"
            text = f"{number} {task.kind}: {text}"
    else:
        text = "; ".join(f"{listed(names)}: {text}" for text, names in words.items())
        return text, kinds == {"gain"}
    return text[0].upper() + text[1:], kinds == {"gain"}


def judged_on(summary: pd.DataFrame, task: Task) -> str:
    """Return on what the methods that are asked about were judged, in a sentence."""
    rows = summary[summary["method"] == task.asked[0]]
    images, patients = rows["n_images"].max(), rows["n_patients"].min()
    everywhere = f" {task.everywhere}" if rows["condition"].nunique() > 1 else ""
    return (
        f"Differences to {task.method(task.reference)}, on {things(images, task.images)} of "
        f"{things(patients, 'test subject')}{everywhere}:"
    )


def of_method(summary: pd.DataFrame, task: Task, method: str) -> str:
    """Return a method's differences in PSNR with their intervals, and how its other values stand."""
    most, *fewer = answers(summary, method)
    rows = select(summary, method, most, "psnr")
    what = answer_words(most, bool(fewer))
    numbers = "; ".join(
        f"{difference_words(row, 'dB')} {task.where} {task.condition(row['condition'])}"
        for row in rows.to_dict("records")
    )
    others = [("by SSIM", select(summary, method, most, "ssim"))]
    for samples in fewer:
        drawn = answer_words(samples, True)
        others.append((f"of {drawn} alone", select(summary, method, samples, "psnr")))
        others.append((f"of {drawn} by LPIPS", select(summary, method, samples, "lpips")))
    _, said = standing(rows, task)
    found = {name: standing(part, task)[1] for name, part in others if len(part)}
    same = [name for name, text in found.items() if text == said]
    text = f"{task.method(method)}{f', {what}' if what else ''}: PSNR {numbers}."
    return " ".join(
        [
            # The name of a method stays as it is written.
            f"T{text[1:]}" if text.startswith("the ") else text,
            *([f"The same holds {listed(same)}."] if same else []),
            *(
                f"{name[0].upper()}{name[1:]}: {text}."
                for name, text in found.items()
                if text != said
            ),
        ]
    )


def difference_words(row: Mapping[str, Any], unit: str = "") -> str:
    """Return a difference with its interval, as it is printed."""
    digits = MEASURES[row["metric"]].digits
    ends = signed_span(row["difference_low"], row["difference_high"], digits)
    return f"{signed(row['difference'], digits)}{f' {unit}' if unit else ''} ({ends})"


def groups(summary: pd.DataFrame, task: Task) -> list[dict[str, Any]]:
    """Return a table by condition: a row per answer of each method, the reference first.

    Each row has `cells`, one per measure of the table in the order of MEASURES (value, interval,
    difference; None where it was not taken), and `at`, where its difference in PSNR lies on an axis
    that all rows share.
    """
    metrics = metrics_of(summary)
    rest = [name for name in summary["method"].unique() if name != task.reference]
    psnr = summary[summary["metric"] == "psnr"]
    reach = axis(psnr)
    found = []
    for condition in summary["condition"].unique():
        here = summary[summary["condition"] == condition]
        rows = [
            row_of(here, task, method, samples, metrics, reach)
            for method in (task.reference, *rest)
            for samples in answers(here, method)
        ]
        found.append(
            {
                "title": task.condition(condition),
                "images": int(here["n_images"].max()),
                "patients": int(here["n_patients"].max()),
                "rows": rows,
            }
        )
    return found


def metrics_of(summary: pd.DataFrame) -> list[str]:
    """Return the measures of a summary, in the order of MEASURES."""
    return [name for name in MEASURES if name in set(summary["metric"])]


def axis(rows: pd.DataFrame) -> float:
    """Return how far an axis with 0 in its middle reaches, so that every difference is on it."""
    ends = rows[["difference_low", "difference_high"]].to_numpy().ravel()
    finite = np.abs(ends[np.isfinite(ends)])
    return 1.05 * max([0.1, *finite.tolist()])


def row_of(
    here: pd.DataFrame, task: Task, method: str, samples: int, metrics: list[str], reach: float
) -> dict[str, Any]:
    """Return one row of a condition's table."""
    own = here[(here["method"] == method) & (here["samples"] == samples)]
    by_metric = {row["metric"]: row for row in own.to_dict("records")}
    psnr = by_metric["psnr"]
    compared = method != task.reference
    ends = {"value": psnr["difference"], "low": psnr["difference_low"]} | {
        "high": psnr["difference_high"]
    }
    kind = finding(psnr) if compared else "none"
    return {
        "name": task.method(method),
        "answer": answer_words(samples, len(answers(here, method)) > 1),
        "reference": not compared,
        "finding": "none" if kind == "unknown" else kind,
        "at": {
            name: place((end + reach) / (2 * reach)) if known(end) else None
            for name, end in ends.items()
        },
        "label": difference_words(psnr, "dB") if compared else "the reference",
        "cells": [cell_of(by_metric.get(metric), compared) for metric in metrics],
    }


def cell_of(row: Mapping[str, Any] | None, compared: bool) -> dict[str, Any] | None:
    """Return a value with its interval and its difference, as they are printed."""
    if row is None:
        return None
    measure = MEASURES[row["metric"]]
    return {
        "value": fixed(row["value"], measure.digits),
        "interval": span(row["low"], row["high"], lambda end: fixed(end, measure.digits)),
        "difference": difference_words(row) if compared else None,
        "sure": compared and finding(row) in ("gain", "loss"),
    }


def restoration(summary: pd.DataFrame, task: Task) -> dict[str, Any]:
    """Return what the page says and shows of one RESTORATION_SUMMARY."""
    text, sure = headline(summary, task)
    return {
        "headline": text,
        "sure": sure,
        "judged_on": judged_on(summary, task),
        "lead": [of_method(summary, task, method) for method in task.asked],
        "images": task.images,
        "reference": task.method(task.reference),
        "groups": groups(summary, task),
        "metrics": [MEASURES[name] for name in metrics_of(summary)],
        "reach": axis(summary[summary["metric"] == "psnr"]),
    }
