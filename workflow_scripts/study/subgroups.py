"""Does a classifier serve everybody alike? Macro AUROC by view and by sex."""

from dataclasses import dataclass
from itertools import groupby
from math import comb

import numpy as np
import pandas as pd

from workflow_scripts.common.runtime import log
from workflow_scripts.common.schemas import SUBGROUPS
from workflow_scripts.common.tables import table_of
from workflow_scripts.metrics.clusters import interval
from workflow_scripts.metrics.ranking import Ranking

ATTRIBUTES = ("view", "sex")
SMALLEST = 20  # patients of a group that is judged
# Patients of a group with a class, and without it, for the class to be judged there. With five
# nearly every resample holds one, so that there is a number to print; the interval of so few cannot
# be relied on, which is one reason why groups are exploratory and nothing in them is significant.
FEWEST = 5
GAP = "gap"


@dataclass(frozen=True)
class Group:
    """Test images that share a view or a sex, and the classes judged in them."""

    attribute: str
    name: str
    shown: np.ndarray  # bool (n,)
    classes: tuple[int, ...]


def find_groups(test: pd.DataFrame, classes: list[str]) -> list[Group]:
    """Return the groups that are large enough to be judged; the log names the others.

    Groups of one attribute are judged on the same classes, those that every one of them has
    enough patients of: else their means would differ by what they are means of.

    Parameters
    ----------
    test : patient_id, class_id, view, sex of the test images; images of unknown view or sex are in
        no group of it
    """
    found = []
    patients, class_ids = test["patient_id"], test["class_id"].to_numpy()
    for attribute in ATTRIBUTES:
        shown = {}
        for name in sorted(test[attribute].dropna().unique()):
            rows = (test[attribute] == name).to_numpy()
            count = patients[rows].nunique()
            if count >= SMALLEST:
                shown[name] = rows
            else:
                log.info("%s %s: %d test patients, too few to judge", attribute, name, count)
        judged = tuple(
            number
            for number in range(len(classes))
            if all(
                patients[rows & part].nunique() >= FEWEST
                for rows in shown.values()
                for part in (class_ids == number, class_ids != number)
            )
        )
        left = [name for number, name in enumerate(classes) if number not in judged]
        if shown and left:
            log.info("by %s, too few test patients of %s", attribute, ", ".join(left))
        if judged:
            found += [Group(attribute, name, rows, judged) for name, rows in shown.items()]
    return found


class GroupAuroc:
    """Macro AUROC of one classifier in each group, under any weighting of the images.

    Parameters
    ----------
    probabilities : float (n, K)
    class_ids : int (n,) in [0, K)
    """

    def __init__(
        self, probabilities: np.ndarray, class_ids: np.ndarray, groups: list[Group]
    ) -> None:
        self.rankings = [
            [
                Ranking(probabilities[:, number], class_ids == number, group.shown)
                for number in group.classes
            ]
            for group in groups
        ]

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Return float64 (groups, b); NaN where a weighting leaves a class without images."""
        found = [np.mean([r.auroc(weights) for r in each], axis=0) for each in self.rankings]
        return np.array(found).reshape(len(found), weights.shape[1])


def tabulate(
    test: pd.DataFrame,
    groups: list[Group],
    arms: list[str],
    reference: str,
    point: np.ndarray,
    drawn: np.ndarray,
) -> pd.DataFrame:
    """Return SUBGROUPS: each group's value and, as group "gap", the largest minus the smallest.

    Parameters
    ----------
    point : (arms, groups), mean over seeds
    drawn : (arms, groups, resamples)
    """
    base, table = arms.index(reference), []
    for attribute, members in groupby(range(len(groups)), lambda place: groups[place].attribute):
        places = list(members)
        several = len(places) > 1
        names = [groups[place].name for place in places] + [GAP] * several
        shown = [groups[place].shown for place in places]
        shown += [np.any(shown, axis=0)] * several
        levels = [0.95] * len(places) + [1 - 0.05 / max(comb(len(places), 2), 1)] * several
        beside, beside_drawn = with_gap(point[base, places], drawn[base, places])
        for number, arm in enumerate(arms):
            value, values = with_gap(point[number, places], drawn[number, places])
            compared = np.nan if arm == reference else 0.0  # added, leaves the reference empty
            for row, (name, level) in enumerate(zip(names, levels, strict=True)):
                low, high = interval(values[row], level)
                ends = interval(values[row] - beside_drawn[row], level)
                table.append(
                    {
                        "arm": arm,
                        "attribute": attribute,
                        "group": name,
                        "n_images": int(shown[row].sum()),
                        "n_patients": test.loc[shown[row], "patient_id"].nunique(),
                        "classes": len(groups[places[0]].classes),
                        "value": value[row],
                        "low": low,
                        "high": high,
                        "difference": value[row] - beside[row] + compared,
                        "difference_low": ends[0] + compared,
                        "difference_high": ends[1] + compared,
                    }
                )
    return table_of(table, SUBGROUPS)


def with_gap(point: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add the gap between groups to their values, where there are two groups or more.

    A largest minus a smallest value never falls below 0, so its percentile interval would always
    exclude 0. Resampled is therefore the difference of those two groups between which the gap was
    found, whichever is the larger in a resample. With more than two groups, `tabulate` widens the
    interval for the number of pairs that the gap might have been between (Bonferroni).

    Parameters
    ----------
    point : (groups,)
    drawn : (groups, resamples)
    """
    if len(point) < 2:
        return point, drawn
    high, low = point.argmax(), point.argmin()
    gaps = drawn[high] - drawn[low]
    return np.append(point, point[high] - point[low]), np.vstack([drawn, gaps])
