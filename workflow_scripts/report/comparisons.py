"""The comparisons of a study: each arm against the reference, and what may be said of it."""

from dataclasses import dataclass

import pandas as pd

from workflow_scripts.common.numbers import known, signed, signed_span
from workflow_scripts.common.schemas import ENOUGH_PATIENTS, MACRO

MEASURES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "balanced_accuracy": "balanced accuracy",
    "brier": "Brier score",
    "calibration_error": "calibration error",
}


@dataclass(frozen=True)
class Comparison:
    """One arm against the reference: the paired difference and its 95 % interval.

    `significant` is the study's own answer (`study.significance`), for other subjects and other
    seeds alike; the interval is of other subjects alone, the trained classifiers given.
    """

    arm: str
    synthetic: float
    difference: float
    low: float
    high: float
    significant: bool = False
    primary: bool = False
    seeds: int = 1
    seed_sd: float | None = None  # of the difference, over the seeds of the classifier
    enough: bool = True  # test subjects, also of the rarest class that it needs
    class_name: str = MACRO

    @property
    def finding(self) -> str:
        """The direction of a significant difference, or that there is none, or too few subjects."""
        if not (self.enough and known(self.low) and known(self.high)):
            return "unknown"
        if not self.significant:
            return "none"
        return "gain" if self.difference > 0 else "loss"

    @property
    def clear(self) -> bool:
        """Whether the interval, of other subjects alone, excludes 0."""
        return known(self.low) and known(self.high) and (self.low > 0 or self.high < 0)

    @property
    def once(self) -> bool:
        """Whether only another training could tell."""
        return self.finding == "none" and self.clear and self.seeds == 1

    @property
    def numbers(self) -> str:
        return f"{signed(self.difference)} ({signed_span(self.low, self.high)})"

    @property
    def sentence(self) -> str:
        if self.once:
            return f"{self.numbers} of these classifiers; another training was not tried"
        but = "; the interval excludes 0, but not once it carries the spread over seeds as well"
        return {
            "gain": f"a gain of {self.numbers}, significant for other subjects and other seeds",
            "loss": f"a loss of {self.numbers}, significant for other subjects and other seeds",
            "none": f"no evidence of a gain, {self.numbers}{but * self.clear}",
            "unknown": f"{self.numbers}, too few test subjects to tell",
        }[self.finding]


def compared(row: dict, settings: dict) -> Comparison:
    """Return the comparison in one row of SUMMARY.

    Parameters
    ----------
    row : of an arm that is not the reference
    settings : the study's section of the configuration
    """
    return Comparison(
        arm=row["arm"],
        synthetic=settings["arms"][row["arm"]]["synthetic"],
        difference=row["difference"],
        low=row["difference_low"],
        high=row["difference_high"],
        significant=bool(row["significant"]),
        primary=bool(row["primary"]),
        seeds=row["seeds"],
        seed_sd=row["difference_seed_sd"],
        enough=row["fewest_patients"] >= ENOUGH_PATIENTS,
        class_name=row["class_name"],
    )


def primary_metric(summary: pd.DataFrame) -> str:
    """Return the measure of the primary comparison."""
    return summary.loc[summary["primary"], "metric"].iloc[0]


def macro_rows(summary: pd.DataFrame) -> pd.DataFrame:
    """Return one row per arm: the primary measure, taken over classes."""
    metric = primary_metric(summary)
    return summary[(summary["metric"] == metric) & (summary["class_name"] == MACRO)]


def comparisons(summary: pd.DataFrame, settings: dict) -> list[Comparison]:
    """Return every arm but the reference, by rising share of synthetic images.

    Parameters
    ----------
    summary : SUMMARY of one study
    settings : the study's section of the configuration
    """
    found = [
        compared(row, settings)
        for row in macro_rows(summary).to_dict("records")
        if row["arm"] != settings["reference"]
    ]
    return sorted(found, key=lambda item: (item.synthetic, item.arm))


def arm_in_words(arm: str, settings: dict) -> str:
    """Return an arm's name and what it trains on, where that is not what the reference does."""
    ours, reference = (settings["arms"][name] for name in (arm, settings["reference"]))
    ratio = ours["synthetic"]
    images = f"{ratio:g} synthetic image{'' if ratio == 1 else 's'}"
    if not ratio:
        words = ["real images alone"]
    elif not ours["real"]:
        words = [f"synthetic images alone, {ratio:g} in place of each real one"]
    elif ours["order"] == "pretrain":
        words = [f"first {images} per real one, then the real ones"]
    else:
        words = [f"{images} per real one"]
    if ratio and ours["classes"] != "all":
        words.append(f"the synthetic ones of {listed(ours['classes'])} alone")
    if ours["augmentation"] != reference["augmentation"]:
        words.append(f"{'with' if ours['augmentation'] else 'without'} classic augmentation")
    if ours["sampling"] != reference["sampling"]:
        shown = "class" if ours["sampling"] == "balanced" else "image"
        words.append(f"every {shown} shown equally often")
    return ", ".join([arm, *words])


def listed(names: list[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
