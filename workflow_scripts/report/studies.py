"""A study on the page: measures by arm, paired differences, subgroups, what its arms hold."""

from typing import Any

import pandas as pd

from workflow_scripts.common.numbers import (
    UNKNOWN,
    count,
    fixed,
    known,
    things,
)
from workflow_scripts.common.schemas import MACRO
from workflow_scripts.report.answer import headline, paragraph, primary_comparison
from workflow_scripts.report.comparisons import (
    MEASURES,
    compared,
    comparisons,
    primary_metric,
)
from workflow_scripts.report.measures import place


def study(
    name: str,
    summary: pd.DataFrame,
    subgroups: pd.DataFrame,
    settings: dict,
    classes: list[str],
) -> dict[str, Any]:
    """Return a study: its answer, every measure by arm, paired differences and subgroups.

    Parameters
    ----------
    summary, subgroups : SUMMARY and SUBGROUPS of one study
    settings : the study's section of the configuration
    """
    cells = {
        (row["metric"], row["class_name"], row["arm"]): row for row in summary.to_dict("records")
    }
    found = comparisons(summary, settings)
    arms = [settings["reference"], *(item.arm for item in found)]
    metric = primary_metric(summary)
    labels = [MACRO, *classes]
    paired = [
        (item, [row for label in labels if (row := cells.get((metric, label, item.arm)))])
        for item in found
    ]
    overall = {item.arm: cells[metric, MACRO, item.arm] for item in found}
    top = reach([end for item in found for end in (item.low, item.high)])
    wide = reach(
        [
            row[key]
            for _, rows in paired
            for row in rows
            for key in ("difference_low", "difference_high")
        ]
    )
    return {
        "name": name,
        "settings": settings,
        "measure": MEASURES[metric],
        "headline": headline(found),
        "sure": primary_comparison(found).significant,
        "paragraph": paragraph(summary, settings, subgroups),
        "comparisons": [
            {"item": item} | difference(overall[item.arm], settings, (-top, top)) for item in found
        ],
        "top_reach": top,
        "reach": wide,
        "arms": arms,
        "tables": [
            {
                "title": title,
                "rows": [
                    {"name": label, "cells": [cells[key, label, arm] for arm in arms]}
                    for label in labels
                    if (key, label, arms[0]) in cells
                ],
            }
            for key, title in MEASURES.items()
            if any(cell[0] == key for cell in cells)
        ],
        "paired": [
            {"item": item, "rows": [difference(row, settings, (-wide, wide)) for row in rows]}
            for item, rows in paired
        ],
        "subgroups": subgroup_tables(subgroups, arms),
    }


def reach(ends: list[float]) -> float:
    """Return how far an axis with 0 in its middle must reach to show every end of an interval."""
    return 1.05 * max([0.01, *(abs(end) for end in ends if known(end))])


def difference(row: dict, settings: dict, axis: tuple[float, float]) -> dict[str, Any]:
    """Return a paired difference as it is printed: a gain or loss only where it is significant."""
    item = compared(row, settings)
    low, high = axis
    ends = {"value": item.difference, "low": item.low, "high": item.high}
    p = probability(row["p_value"] if item.primary else row["p_holm"])
    verdict = "significant" if item.significant else "not significant"
    if item.arm != settings["primary"]["arm"]:
        verdict = "secondary"
    elif item.finding == "unknown":
        verdict = "too few subjects to tell"
    return row | {
        "at": {
            name: place((end - low) / (high - low)) if known(end) else None
            for name, end in ends.items()
        },
        "p": p,
        "finding": item.finding if item.finding != "unknown" else "none",
        "label": f"{item.numbers}, {verdict}" + ("" if p == UNKNOWN else f", p {p}"),
    }


def probability(p: float | None) -> str:
    """Return a p-value with three decimals; what is smaller is said to be."""
    return "< 0.001" if known(p) and p < 0.001 else fixed(p)


def subgroup_tables(table: pd.DataFrame, arms: list[str]) -> list[dict[str, Any]]:
    """Return a table per attribute: groups by arms, the largest gap between groups last."""
    tables = []
    for attribute, rows in table.groupby("attribute", sort=True):
        cells = {(row["group"], row["arm"]): row for row in rows.to_dict("records")}
        groups = sorted({group for group, _ in cells}, key=lambda group: (group == "gap", group))
        tables.append(
            {
                "attribute": attribute,
                "rows": [
                    {"group": group, "cells": [cells.get((group, arm)) for arm in arms]}
                    for group in groups
                ],
            }
        )
    return tables


def removed(arms: dict[str, dict]) -> list[str]:
    """Return what was left out as copies before the arms took synthetic images, in sentences.

    Parameters
    ----------
    arms : what composing each arm said: `without_copies`, `synthetic` by class, and `removed`, by
        class the `images` and of them the `unaudited`
    """
    sentences: dict[str, list[str]] = {}
    for arm, facts in arms.items():
        if not any(facts["synthetic"].values()) and not facts["removed"]:
            continue
        sentences.setdefault(left_out(facts), []).append(arm)
    return [f"{', '.join(names)}: {text}." for text, names in sentences.items()]


def left_out(facts: dict) -> str:
    """Return how many synthetic images an arm could not take because they look like copies."""
    if not facts["without_copies"]:
        return "synthetic images that look like copies of training images were not left out"
    by_class = {name: counts["images"] for name, counts in facts["removed"].items()}
    total = things(sum(by_class.values()), "synthetic image")
    text = f"left out as copies of training images: {total}"
    if any(by_class.values()):
        text += f" ({', '.join(f'{name} {count(n)}' for name, n in by_class.items() if n)})"
    unaudited = sum(counts["unaudited"] for counts in facts["removed"].values())
    return f"{text}, of them {count(unaudited)} that were not looked at" if unaudited else text


def proof(arms: dict[str, dict]) -> dict[str, Any]:
    """Return what was proved before the arms trained, and what was not.

    Parameters
    ----------
    arms : the proof of each arm: `held_out` counts by split, `statements` with their counts, and
        `limits`
    """
    held_out = next(iter(arms.values()))["held_out"]
    val, test = (count(held_out[split]["patients"]) for split in ("val", "test"))
    statements: dict[str, list[str]] = {}
    for arm, found in arms.items():
        for one in found["statements"]:
            counts = ", ".join(
                things(n, {"patients": "subject"}.get(noun, noun.removesuffix("s")))
                for noun, n in one["counts"].items()
            )
            statements.setdefault(one["statement"], []).append(f"{arm}: {counts}")
    return {
        "lead": f"no validation or test subject, of {val} and {test}, is among the images that the "
        f"study’s {things(len(arms), 'arm')} and the networks behind them were given to train on",
        "statements": [
            {"text": text, "arms": "; ".join(listed)} for text, listed in statements.items()
        ],
        "limits": list(dict.fromkeys(text for found in arms.values() for text in found["limits"])),
    }
