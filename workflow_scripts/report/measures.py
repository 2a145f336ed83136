"""The measures of one model and sampler, by family, each row with its bar and its verdict."""

from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.common.numbers import known
from workflow_scripts.common.schemas import POOLED
from workflow_scripts.common.wording import space_name
from workflow_scripts.report.verdicts import (
    CEILINGS,
    MEANINGS,
    Way,
    interval_of,
    printed_way,
    verdict,
    way,
    written,
)

FAMILIES = {
    "distribution": (
        "Distribution",
        (
            "frechet_distance",
            "frechet_distance_infinity",
            "kernel_distance",
            "gaussian_kernel_distance",
            "precision",
            "recall",
            "density",
            "coverage",
            "class_score",
        ),
    ),
    "diversity": ("Diversity", ("lpips_diversity", "msssim_diversity")),
    "condition": (
        "Condition",
        (
            "class_accuracy",
            "class_auroc",
            "classification_accuracy_score",
            "cardiothoracic_ratio_distance",
            "effusion_height_distance",
        ),
    ),
    "physics": ("Physics", ("intensity_distance", "spectrum_distance", "sharpness_ratio")),
    "copies": ("Copies", ("memorised_fraction", "closer_to_train")),
}
FIRST = ("domain",)  # extractors that are shown before others
UNITS = {"lpips_diversity": "pairs", "msssim_diversity": "pairs"}


def families(table: pd.DataFrame, classes: list[str]) -> list[dict[str, Any]]:
    """Return the families that were measured.

    Parameters
    ----------
    table : METRICS of one model and sampler

    Returns
    -------
    Per family `pooled`, rows grouped by feature space, and `by_class`, rows grouped by measure.
    """
    found = []
    for key, (title, metrics) in FAMILIES.items():
        rows = ordered(table[table["metric"].isin(metrics)], metrics, classes)
        pooled = [row for row in rows if row["class_name"] == POOLED]
        single = [row for row in rows if row["class_name"] != POOLED]
        if rows:
            found.append(
                {
                    "key": key,
                    "title": title,
                    "pooled": grouped(pooled, "features"),
                    "by_class": grouped(single, "title"),
                    "intervals": sorted({row["method"] for row in rows} - {"none"}),
                }
            )
    return found


def ordered(
    table: pd.DataFrame, metrics: tuple[str, ...], classes: list[str]
) -> list[dict[str, Any]]:
    """Return rows by feature space, measure and class, the project's own classifier first."""
    rank = {POOLED: -1} | {name: number for number, name in enumerate(classes)}
    rows = sorted(
        table.to_dict("records"),
        key=lambda row: (
            row["extractor"] not in FIRST,
            row["extractor"],
            metrics.index(row["metric"]),
            rank[row["class_name"]],
        ),
    )
    return [shown(row) for row in rows]


def shown(row: dict) -> dict[str, Any]:
    """Return a row of METRICS as it is printed."""
    metric, found = row["metric"], way(row)
    features = space_name(row["extractor"])
    return {
        "metric": metric,
        "class_name": row["class_name"],
        "name": row["name"],
        "features": features,
        "title": f"{row['name']} · {features}",
        "meaning": MEANINGS[metric],
        "verdict": verdict(row),
        "bar": bar(found),
        "way": printed_way(found),
        "value": written(metric, row["value"]),
        "interval": interval_of(row),
        "method": row["interval"],
        "floor": written(metric, row["floor"]),
        "train": written(metric, row["train"]),
        "ceiling": written(metric, row["ceiling"]),
        "ceiling_of": CEILINGS[row["ceiling_of"]],
        "n": row["n"],
        "n_reference": row["n_reference"],
        "unit": UNITS.get(metric, "images"),
    }


def bar(found: Way | None) -> dict[str, Any] | None:
    """Return places in percent of the bar's length; what lies outside is put at its end.

    `outside` says at which end the value was put: it is then drawn as an arrow.
    """
    if found is None:
        return None
    outside = None
    if known(found.value) and not 0 <= found.value <= 1:
        outside = "left" if found.value < 0 else "right"
    places = {name: place(getattr(found, name)) for name in ("value", "low", "high", "train")}
    return places | {"outside": outside}


def place(share: float) -> float | None:
    """Return a share of the way in percent of a bar's length."""
    return round(float(np.clip(100 * share, 0, 100)), 2) if known(share) else None


def grouped(rows: list[dict], key: str) -> list[dict[str, Any]]:
    """Return rows by a common value, in the order in which those come."""
    groups: dict[str, list[dict]] = {}
    for row in rows:
        groups.setdefault(row[key], []).append(row)
    return [{"title": title, "rows": group} for title, group in groups.items()]


def row_of(found: list[dict], *metrics: str) -> dict[str, Any] | None:
    """Return the first pooled row of the first of these measures that was taken."""
    rows = [row for family in found for group in family["pooled"] for row in group["rows"]]
    return next((row for name in metrics for row in rows if row["metric"] == name), None)
