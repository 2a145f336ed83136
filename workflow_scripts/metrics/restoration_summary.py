"""Restored images, method against method: means with intervals, and paired differences."""

import numpy as np
import pandas as pd

from workflow_scripts.common.schemas import RESTORATION_METRICS, RESTORATION_SUMMARY
from workflow_scripts.common.tables import table_of
from workflow_scripts.metrics.clusters import cluster_means

CASE = ["method", "samples"]  # what is told apart within a condition


def summarise(rows: pd.DataFrame, reference: str, count: int, seed: int) -> pd.DataFrame:
    """Return RESTORATION_SUMMARY of a table RESTORATION.

    Of each condition, method, number of samples and metric, in the order of their first rows: the
    mean over images with its 95 % interval from a bootstrap over patients, and the same of the
    difference to the reference method, image by image.

    Parameters
    ----------
    rows : table RESTORATION
    reference : method that the others are compared with, which has one answer to each image. A
        condition without it has no differences
    count : resamples
    seed : decides the resamples

    Raises
    ------
    ValueError
        If methods were judged on different images of a condition: then nothing is paired. If the
        reference has several answers: then it says nothing which of them others are held against.
    """
    metrics = [name for name in RESTORATION_METRICS if name in rows and rows[name].notna().all()]
    found = []
    for condition, of_condition in rows.groupby("condition", sort=False):
        cases = {
            case: part.set_index("image_id").sort_index()
            for case, part in of_condition.groupby(CASE, sort=False)
        }
        first = next(iter(cases.values()))
        for (method, _), part in cases.items():
            if not part.index.equals(first.index):
                raise ValueError(f"{condition}: {method} was judged on other images than the rest")
        own, *further = [case for case in cases if case[0] == reference] or [None]
        if further:
            raise ValueError(f"{condition}: {reference}, the reference, has several answers")
        for case, part in cases.items():
            values = part[metrics].to_numpy(dtype=np.float64)
            compared = own is not None and case != own
            if compared:
                to_reference = values - cases[own][metrics].to_numpy(dtype=np.float64)
                values = np.hstack([values, to_reference])
            estimates = cluster_means(values, part["patient_id"].to_numpy(), count, seed)
            for number, metric in enumerate(metrics):
                gain = estimates[len(metrics) + number] if compared else None
                found.append(
                    {
                        "condition": condition,
                        "method": case[0],
                        "samples": case[1],
                        "metric": metric,
                        "n_images": len(part),
                        "n_patients": part["patient_id"].nunique(),
                        "value": estimates[number].value,
                        "low": estimates[number].low,
                        "high": estimates[number].high,
                        "difference": gain.value if gain else np.nan,
                        "difference_low": gain.low if gain else np.nan,
                        "difference_high": gain.high if gain else np.nan,
                    }
                )
    return table_of(found, RESTORATION_SUMMARY)
