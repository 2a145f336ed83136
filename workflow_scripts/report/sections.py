"""What each section of the page shows: tables in, plain numbers and rows out."""

from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.common.numbers import known
from workflow_scripts.common.schemas import POOLED, SPLITS
from workflow_scripts.common.wording import space_name
from workflow_scripts.report.answer import (
    MACRO,
    MEASURES,
    Comparison,
    comparisons,
    headline,
    paragraph,
    primary_metric,
    sound,
)

# The order of config.yaml, which sorted keys have lost.
ORDER = (
    "device precision checkpoint nih_dir dataset cohort split tensors models samplers classifier "
    "evaluate weights studies"
)

ACCURACY = "class_accuracy"  # the measure of class consistency
# Measures of copying, and what each counts.
COPIES = {
    "memorised_fraction": "nearer to a training image than nearly all real test images are",
    "closer_to_train": "nearer to a training image than to any of as many held-out ones",
}


def size(table: pd.DataFrame) -> dict[str, int]:
    """Return how many images and how many patients a table holds."""
    return {"images": len(table), "patients": table["patient_id"].nunique()}


def flow(
    labels: pd.DataFrame,
    exclusions: pd.DataFrame,
    cohort: pd.DataFrame,
    images: pd.DataFrame,
) -> dict[str, Any]:
    """Return the way from the label table to the splits, in images and patients.

    Parameters
    ----------
    labels, exclusions, cohort : tables of those schemas
    images : table IMAGES, the cohort's images that have pixels
    """
    reasons = [
        {"reason": reason, "details": details(group), **size(group)}
        for reason, group in exclusions.groupby("reason", sort=False)
    ]
    return {
        "labels": size(labels),
        "excluded": size(exclusions),
        "reasons": sorted(reasons, key=lambda row: (-row["images"], row["reason"])),
        "cohort": size(cohort),
        "missing": size(cohort[~cohort["image_id"].isin(images["image_id"])]),
        "images": size(images),
        "splits": [{"split": name, **size(images[images["split"] == name])} for name in SPLITS],
    }


def details(group: pd.DataFrame, most: int = 8) -> list[tuple[str, int]]:
    """Return the commonest details of one reason of exclusion and what remains."""
    counts = group["detail"].value_counts()
    counts = counts[counts.index != ""].sort_index().sort_values(ascending=False, kind="stable")
    found = [(str(name), int(number)) for name, number in counts.head(most).items()]
    rest = int(counts.iloc[most:].sum())
    return [*found, (f"{len(counts) - most} others", rest)] if rest else found


def split_table(images: pd.DataFrame, classes: list[str]) -> dict[str, Any]:
    """Return images and patients of each class in each split, and the patients in two splits.

    The patients are counted here, from the table of images that every later step used, and not
    copied from the leak check.
    """
    rows = [
        {
            "name": name,
            "cells": [
                size(images[(images["class_name"] == name) & (images["split"] == split)])
                for split in SPLITS
            ],
            **size(images[images["class_name"] == name]),
        }
        for name in classes
    ]
    shared = int((images.groupby("patient_id")["split"].nunique() > 1).sum())
    totals = [size(images[images["split"] == split]) for split in SPLITS]
    return {"rows": rows, "totals": totals, "all": size(images), "shared": shared}


def issues(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what was odd in the label table, by reason, with one value as an example."""
    return [
        {
            "column": column,
            "reason": reason,
            "number": len(group),
            "example": group["value"].iloc[0],
        }
        for (column, reason), group in table.groupby(["column", "reason"])
    ]


def alone(unmatched: pd.DataFrame, most: int = 5) -> list[dict[str, Any]]:
    """Return images without pixels and pixels without a row of the table, by reason."""
    return [
        {"reason": reason, "number": len(group), "examples": group["image_id"].head(most).tolist()}
        for reason, group in unmatched.groupby("reason")
    ]


def training(log: pd.DataFrame) -> dict[str, float]:
    """Return how far a model was trained; the loss is the mean over the last tenth of the log."""
    last = log.iloc[-max(1, len(log) // 10) :]
    return {
        "steps": int(log["step"].iloc[-1]),
        "images": int(log["images"].iloc[-1]),
        "loss": float(last["loss"].mean()),
    }


def scale(values: list[float | None]) -> tuple[float, float]:
    """Return the ends of an axis from 0, or from below it, past every value."""
    finite = [value for value in values if known(value)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    room = 0.06 * (high - low) or 1.0
    return (low - room if low < 0 else 0.0), high + room


def place(value: float | None, axis: tuple[float, float]) -> float | None:
    """Return where a value stands on an axis, in percent of its length."""
    if not known(value):
        return None
    low, high = axis
    return round(float(np.clip(100 * (value - low) / (high - low), 0, 100)), 2)


def measures(table: pd.DataFrame, classes: list[str]) -> list[dict[str, Any]]:
    """Return distances and diversities, one block per measure and feature space.

    Within a block all rows share one axis, so that their dots can be compared by eye.
    """
    rank = {name: number for number, name in enumerate(classes)}
    table = table[~table["metric"].isin([ACCURACY, *COPIES])]
    blocks = []
    for (metric, extractor), group in table.groupby(["metric", "extractor"], sort=False):
        shown = group.assign(order=group["class_name"].map(rank).fillna(-1)).sort_values("order")
        columns = ["value", "low", "high", "floor", "train"]
        diversity = metric.endswith("_diversity")
        best = 1.0 if diversity else 0.0
        axis = scale([best, *shown[columns].to_numpy().ravel()])
        rows = [
            {
                "class_name": row["class_name"],
                "pooled": row["class_name"] not in rank,
                "n": row["n"],
                "n_reference": row["n_reference"],
                **{name: row[name] for name in columns},
                "at": {name: place(row[name], axis) for name in columns},
            }
            for row in shown.to_dict("records")
        ]
        blocks.append(
            {
                "title": shown["name"].iloc[0],
                "best": best,
                "unit": "pairs" if diversity else "images",
                "extractor": extractor,
                "features": space_name(extractor),
                "intervals": sorted(set(shown["interval"]) - {"none"}),
                "axis": axis,
                # One number of decimals per block: four significant digits at the axis's end.
                "digits": int(np.clip(4 - np.ceil(np.log10(axis[1] - axis[0])), 0, 6)),
                "best_at": place(best, axis),
                "rows": rows,
            }
        )
    return blocks


def consistency(table: pd.DataFrame, classes: list[str]) -> dict[str, Any]:
    """Return the share of synthetic images that are seen as the class they were asked for.

    Beside it, under `floor`, the share of real validation images that the same classifier names
    rightly: what could be reached.
    """
    rows = table[table["metric"] == ACCURACY].set_index("class_name", drop=False)
    of_all = [name for name in rows.index if name not in classes]
    return {
        "rows": rows.loc[[name for name in classes if name in rows.index]].to_dict("records"),
        "all": rows.loc[of_all[0]].to_dict(),
        "chance": 1 / len(classes),
    }


def copies(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the shares of synthetic images that look copied, of all classes together."""
    rows = table[table["metric"].isin(COPIES) & (table["class_name"] == POOLED)]
    return [
        row | {"what": COPIES[row["metric"]], "features": space_name(row["extractor"])}
        for row in rows.to_dict("records")
    ]


def process(settings: dict) -> str:
    """Return the configuration section `diffusion` of a model in a few words."""
    match settings["process"]:
        case "ddpm":
            words = [f"{settings['prediction']} prediction", f"{settings['schedule']} schedule"]
        case "vp_sde":
            words = ["VP-SDE", f"{settings['prediction']} prediction", "cosine schedule"]
        case "edm":
            words = ["EDM"]
    return ", ".join(words)


def study(name: str, summary: pd.DataFrame, settings: dict, classes: list[str]) -> dict[str, Any]:
    """Return a study: its headline and paragraph, every measure by arm, paired differences."""
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
        "paragraph": paragraph(summary, settings),
        "comparisons": [{"item": item, "at": interval(item, (-top, top))} for item in found],
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
        ],
        "paired": [
            {"item": item, "rows": [difference(row, settings, (-wide, wide)) for row in rows]}
            for item, rows in paired
        ],
    }


def reach(ends: list[float]) -> float:
    """Return how far an axis with 0 in its middle must reach to show every end of an interval."""
    return 1.05 * max([0.01, *(abs(end) for end in ends if known(end))])


def interval(item: Comparison, axis: tuple[float, float]) -> dict[str, float | None]:
    """Return where a comparison's dot and the ends of its interval stand on an axis."""
    ends = {"value": item.difference, "low": item.low, "high": item.high}
    return {name: place(value, axis) for name, value in ends.items()}


def difference(row: dict, settings: dict, axis: tuple[float, float]) -> dict[str, Any]:
    """Return one row of a table of paired differences."""
    item = Comparison(
        row["arm"],
        settings["arms"][row["arm"]]["synthetic"],
        row["difference"],
        row["difference_low"],
        row["difference_high"],
        sound=sound(row["resamples"], settings),
    )
    return row | {"item": item, "at": interval(item, axis)}


def seeds(settings: Any, path: str = "") -> list[tuple[str, Any]]:
    """Return every seed of a configuration with the path of its key."""
    if not isinstance(settings, dict):
        return []
    found = []
    for key, value in settings.items():
        here = f"{path}.{key}" if path else key
        found += [(here, value)] if key in ("seed", "seeds") else seeds(value, here)
    return found


def shown_configuration(config: dict) -> dict:
    """Return a configuration to print: in the order of config.yaml, without this machine's folders."""
    names = ORDER.split()
    order = {name: number for number, name in enumerate(names)}
    keys = sorted(config, key=lambda key: (order.get(key, len(names)), key))
    return {key: without_folders(config[key]) for key in keys}


def without_folders(value: Any) -> Any:
    """Return a value with absolute paths cut to their last part: a page is passed on."""
    if isinstance(value, dict):
        return {key: without_folders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_folders(item) for item in value]
    if isinstance(value, str):
        for kind in (PurePosixPath, PureWindowsPath):
            if kind(value).is_absolute() or (value.startswith("~") and kind is PurePosixPath):
                return f"…/{kind(value).name}"
    return value
