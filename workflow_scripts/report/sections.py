"""What each section of the page shows: tables in, plain numbers and rows out."""

from typing import Any

import pandas as pd

from workflow_scripts.common.privacy import without_folders
from workflow_scripts.common.schemas import POOLED, SPLITS

# The order of config.yaml, which sorted keys have lost.
ORDER = (
    "device precision checkpoint nih_dir dataset cohort split tensors models samplers classifier "
    "evaluate weights studies cross_validation readers denoising inpainting superresolution anomaly "
    "report"
)


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


def readers(scores: pd.DataFrame) -> dict[str, Any]:
    """Return the scores of a reader study over all classes.

    Parameters
    ----------
    scores : READER_SCORES

    Returns
    -------
    `rows`, a reader each and last all of them, with `cells` by measure where there is one; and
    `agreement`, the rows of the measures of agreement.
    """
    pooled = scores[scores["class_name"] == POOLED]
    agreement = pooled["measure"].str.startswith("agreement_")
    rows = [
        {"name": name, "cells": {row["measure"]: row for row in group.to_dict("records")}}
        for name, group in pooled[~agreement].groupby("reader", sort=False)
    ]
    return {"rows": rows, "agreement": pooled[agreement].to_dict("records")}


def split_words(settings: dict) -> str:
    """Return the configuration section `split` in a few words."""
    if settings["method"] == "folds":
        return f"fold {settings['fold']} of {settings['folds']}, counted from 0"
    if settings["method"] == "official":
        return "official lists"
    shares = (f"{settings['fractions'][name]:g}" for name in SPLITS)
    return f"{settings['method']}, {' / '.join(shares)}"


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
    """Return a configuration to print: in the order of config.yaml, as others may read it."""
    names = ORDER.split()
    order = {name: number for number, name in enumerate(names)}
    keys = sorted(config, key=lambda key: (order.get(key, len(names)), key))
    return {key: without_folders(config[key]) for key in keys}
