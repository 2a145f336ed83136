"""What may be called a gain or a loss, decided once: the column `significant` of a summary.

An interval that resamples patients takes the trained classifiers as they are: arms of one recipe
would differ "significantly" in a third of all studies of a single seed. A claim on the recipe must
carry the seeds as well.
"""

import numpy as np
import pandas as pd
from scipy.stats import t

from workflow_scripts.common.schemas import ENOUGH_PATIENTS, MACRO
from workflow_scripts.study.multiplicity import holm

LEVEL = 0.05


def seeded_p_value(point: np.ndarray, drawn: np.ndarray, fewest: np.ndarray) -> np.ndarray:
    """Return the two-sided p-value of "no difference" for other patients and other seeds.

    SE² = s²_B + s²_S / S, of s_B the standard deviation over resamples of patients and s_S that
    over the S seeds, against Student's t. Its degrees of freedom are those of Satterthwaite 1946
    (Biometrics Bull 2:110) for the two parts: m - 1 of the first, m the patients of the rarest
    class, and S - 1 of the second.

    Parameters
    ----------
    point : (seeds, rows), differences on the test images as they are
    drawn : (rows, resamples), of each resample the mean difference over seeds
    fewest : int (rows,), m

    Returns
    -------
    float64 (rows,); NaN where there is one seed, one patient of a class, or no resample
    """
    seeds, difference = len(point), point.mean(axis=0)
    by_patient = np.square(np.nanstd(drawn, axis=-1, ddof=1))
    by_seed = point.var(axis=0, ddof=1) / seeds if seeds > 1 else np.full(len(fewest), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.sqrt(by_patient + by_seed)
        freedom = error**4 / (by_patient**2 / (fewest - 1) + by_seed**2 / (seeds - 1))
        p = 2 * t.sf(np.abs(difference) / error, freedom)
    return np.where(error == 0, np.where(difference == 0, 1.0, 0.0), p)


def significant(part: pd.DataFrame, seeded: np.ndarray) -> pd.Series:
    """Return for each row of an arm whether its difference may be called a gain or a loss.

    That is the primary comparison, which was named beforehand, and the classes of its arm and
    metric, after Holm's correction for their number; all else is secondary, and never is. Of
    other patients and of other seeds alike, at 5 %: `p_value`, of the classes `p_holm`, and the
    p-value that carries the seeds. One seed cannot tell, nor can fewer than `ENOUGH_PATIENTS` patients with
    a class, or without it.

    Parameters
    ----------
    part : rows of SUMMARY of one arm, the columns up to `p_holm`
    seeded : (rows,), what `seeded_p_value` returned
    """
    answer = pd.Series(False, index=part.index)
    if not part["primary"].any():
        return answer
    mine = part["metric"] == part.loc[part["primary"], "metric"].iloc[0]
    enough = (part["fewest_patients"] >= ENOUGH_PATIENTS) & ~np.isnan(seeded)
    answer |= part["primary"] & (part["p_value"] <= LEVEL) & (seeded <= LEVEL)
    classes = (mine & (part["class_name"] != MACRO)).to_numpy()
    corrected = holm(np.nan_to_num(seeded[classes], nan=1.0))
    answer[classes] = (part.loc[classes, "p_holm"] <= LEVEL) & (corrected <= LEVEL)
    return answer & enough
