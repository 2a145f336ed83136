"""The summary of a study, from the measures on the test images and on resamples of their patients."""

import numpy as np
import pandas as pd

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.runtime import log
from workflow_scripts.common.schemas import MACRO
from workflow_scripts.metrics.clusters import interval
from workflow_scripts.study.bootstrap import detectable, p_value
from workflow_scripts.study.measures import names
from workflow_scripts.study.multiplicity import holm
from workflow_scripts.study.significance import seeded_p_value, significant

# Measures over all classes that no single class can leave undefined.
WHOLE = ("brier", "calibration_error")


def require_all_classes(test: pd.DataFrame, classes: list[str]) -> None:
    """Raise InputError if a class has no test image."""
    absent = [name for name in classes if name not in set(test["class_name"])]
    if absent:
        raise InputError(
            f"no test image shows {', '.join(absent)}, so no classifier can be judged on it. Give "
            "the test split more patients (split), or leave the class out of cohort.classes."
        )


def summary_table(
    point: np.ndarray,
    drawn: np.ndarray,
    test: pd.DataFrame,
    arms: list[str],
    reference: str,
    primary: dict,
    classes: list[str],
) -> pd.DataFrame:
    """Return SUMMARY without DeLong's intervals.

    A value is the mean over seeds of the measure on the test images; its interval, and that of
    the difference to the reference, is the 95 % percentile interval of that mean over resamples
    of patients. It speaks of other test patients, not of other training runs: those show in
    `seed_sd` and `difference_seed_sd`, standard deviations over seeds. `significant` takes both.

    Parameters
    ----------
    point : float64 (arms, seeds, rows), the measures in the order of `names`
    drawn : float64 (arms, rows, resamples), of each resample the mean over seeds
    test : patient_id, class_name of the test images
    primary : `arm` and `metric` of the comparison that was named before looking
    """
    rows, resamples = names(classes), drawn.shape[-1]
    drawn = about_the_value(point, drawn, rows)
    used = (~np.isnan(drawn[0])).sum(axis=-1)
    if used.min() < resamples:
        log.warning(
            "a class has so few test patients that %d of %d resamples held none of them; its "
            "intervals rest on the others and are too narrow",
            resamples - used.min(),
            resamples,
        )
    counted = pd.DataFrame([count(test, *row, classes) for row in rows])
    base, parts = arms.index(reference), []
    for place, arm in enumerate(arms):
        part = pd.DataFrame(rows, columns=["metric", "class_name"]).join(counted)
        part = part.assign(
            arm=arm,
            seeds=point.shape[1],
            resamples=used,
            primary=(part["metric"] == primary["metric"])
            & (part["class_name"] == MACRO)
            & (arm == primary["arm"]),
            significant=False,
            **values(point[place], drawn[place]),
        )
        if place != base:
            by_seed, by_patient = point[place] - point[base], drawn[place] - drawn[base]
            part = part.assign(**differences(by_seed, by_patient))
            by_class = part["class_name"] != MACRO
            part.loc[by_class, "p_holm"] = (
                part[by_class].groupby("metric")["p_value"].transform(holm)
            )
            seeded = seeded_p_value(by_seed, by_patient, part["fewest_patients"].to_numpy())
            part["significant"] = significant(part, seeded)
        parts.append(part)
    table = pd.concat(parts).sort_index(kind="stable")  # by measure, and then by arm
    return table.reset_index(drop=True)


def about_the_value(
    point: np.ndarray, drawn: np.ndarray, rows: list[tuple[str, str]]
) -> np.ndarray:
    """Return the resamples with those of a binned error shifted to be about its value.

    It sums absolute values, to which resampling adds noise of its own: the resamples lie above the
    value. Shifted back, they are about the error as it measures at this N.
    """
    binned = [metric == "calibration_error" for metric, _ in rows]
    excess = drawn[:, binned].mean(axis=-1) - point[..., binned].mean(axis=1)
    drawn = drawn.copy()
    drawn[:, binned] -= excess[..., None]
    return drawn


def count(test: pd.DataFrame, metric: str, class_name: str, classes: list[str]) -> dict[str, int]:
    """Return what a row of SUMMARY rests on; for `MACRO`, images of all classes.

    `fewest_patients` is the number with the class or without it, whichever is smaller; of a mean
    over classes that of the rarest class.
    """
    patients, shown = test["patient_id"], test["class_name"]
    needed = classes if class_name == MACRO else [class_name]
    sides = [part for name in needed for part in (shown == name, shown != name)]
    fewest = min(patients[side].nunique() for side in sides)
    own = shown.isin(needed)
    return {
        "n_images": len(test),
        "n_patients": patients.nunique(),
        "positives": int(own.sum()),
        "positive_patients": patients[own].nunique(),
        "fewest_patients": patients.nunique() if metric in WHOLE else fewest,
    }


def values(point: np.ndarray, drawn: np.ndarray) -> dict[str, np.ndarray]:
    """Return what SUMMARY says of an arm by itself: point (seeds, rows), drawn (rows, resamples)."""
    low, high = interval(drawn)
    return {
        "value": point.mean(axis=0),
        "low": np.maximum(low, 0),
        "high": high,
        "seed_sd": spread(point),
    }


def differences(point: np.ndarray, drawn: np.ndarray) -> dict[str, np.ndarray]:
    """Return what SUMMARY says of an arm beside the reference, from the paired differences."""
    low, high = interval(drawn)
    return {
        "difference": point.mean(axis=0),
        "difference_low": low,
        "difference_high": high,
        "difference_seed_sd": spread(point),
        "p_value": p_value(drawn),
        "detectable": detectable(drawn),
    }


def spread(point: np.ndarray) -> np.ndarray:
    """Return the standard deviation over seeds (seeds, rows); NaN of a single one."""
    return point.std(axis=0, ddof=1) if len(point) > 1 else np.full(point.shape[1], np.nan)
