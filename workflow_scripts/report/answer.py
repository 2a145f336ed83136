"""What a study shows, in words that never claim more than its intervals.

The words are computed: a difference whose interval holds 0 is "no evidence of a gain", whatever
the sign of its centre. The headline speaks of the primary comparison alone, which the
configuration named beforehand; the others are listed, as not corrected for their number.
"""

from dataclasses import dataclass

import pandas as pd

from workflow_scripts.common.numbers import (
    DECIMALS,
    fixed,
    known,
    signed,
    signed_span,
    span,
    things,
)
from workflow_scripts.common.schemas import MACRO

CEILING = 0.995  # of a measure whose best is 1
MEASURES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "balanced_accuracy": "balanced accuracy",
}


@dataclass(frozen=True)
class Comparison:
    """One arm against the reference: the paired difference and its 95 % interval."""

    arm: str
    synthetic: float
    difference: float
    low: float
    high: float
    primary: bool = False
    seed_sd: float | None = None  # of the difference, over the seeds of the classifier
    sound: bool = True  # nearly all resamples held every class; else the interval is too narrow

    @property
    def finding(self) -> str:
        """The direction of the difference, or that the interval holds 0, or that it cannot tell.

        A bound that is printed as 0 counts as 0: nobody should read a loss off "−0.003 to 0.000".
        """
        if not (self.sound and known(self.low) and known(self.high)):
            return "unknown"
        if round(self.low, DECIMALS) > 0:
            return "gain"
        return "loss" if round(self.high, DECIMALS) < 0 else "none"

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    @property
    def sentence(self) -> str:
        interval = f"{signed(self.difference)} ({signed_span(self.low, self.high)})"
        return {
            "gain": f"a gain of {interval}; the interval excludes 0",
            "loss": f"a loss of {interval}; the interval excludes 0",
            "none": f"no evidence of a gain, {interval}",
            "unknown": f"{interval}, not to be relied on",
        }[self.finding]

    @property
    def arm_in_words(self) -> str:
        images = "image" if self.synthetic == 1 else "images"
        return f"{self.arm}, {self.synthetic:g} synthetic {images} per real one"


def primary_metric(summary: pd.DataFrame) -> str:
    """Return the measure of the primary comparison; AUROC if none is marked."""
    marked = summary.loc[summary["primary"], "metric"]
    return marked.iloc[0] if len(marked) else "auroc"


def comparisons(summary: pd.DataFrame, settings: dict) -> list[Comparison]:
    """Return every arm but the reference, by rising share of synthetic images.

    Parameters
    ----------
    summary : SUMMARY of one study
    settings : the study's section of the configuration
    """
    found = [
        Comparison(
            row.arm,
            settings["arms"][row.arm]["synthetic"],
            row.difference,
            row.difference_low,
            row.difference_high,
            row.primary,
            row.difference_seed_sd,
            sound(row.resamples, settings),
        )
        for row in macro_rows(summary).itertuples()
        if row.arm != settings["reference"]
    ]
    return sorted(found, key=lambda item: (item.synthetic, item.arm))


def sound(resamples: int, settings: dict) -> bool:
    """Whether the bootstrap's resamples held every class that the measure needs, but for 1 %."""
    return resamples >= 0.99 * settings["bootstrap"]


def macro_rows(summary: pd.DataFrame) -> pd.DataFrame:
    """Return one row per arm: the primary measure, taken over classes."""
    metric = primary_metric(summary)
    return summary[(summary["metric"] == metric) & (summary["class_name"] == MACRO)]


def judged(found: list[Comparison]) -> list[Comparison]:
    """Return the primary comparison alone if there is one, else all."""
    return [item for item in found if item.primary] or found


def headline(found: list[Comparison]) -> str:
    """Return the result of a study in a few words: that of the primary comparison, if there is one."""
    found = judged(found)
    gains = sum(item.finding == "gain" for item in found)
    losses = sum(item.finding == "loss" for item in found)
    if all(item.finding == "unknown" for item in found):
        return "Too few test patients to tell"
    if not gains and not losses:
        return "No evidence of a gain"
    if gains and losses:
        return f"A gain in {gains} and a loss in {losses} of {len(found)} comparisons"
    what, number = ("A gain", gains) if gains else ("A loss", losses)
    return what if len(found) == 1 else f"{what} in {number} of {len(found)} comparisons"


def paragraph(summary: pd.DataFrame, settings: dict) -> str:
    """Return the paragraph below the headline: reference, comparisons, what could have been seen."""
    found = comparisons(summary, settings)
    rows = macro_rows(summary)
    base = rows[rows["arm"] == settings["reference"]].iloc[0]
    measure = MEASURES[primary_metric(summary)]
    sentences = [
        f"Trained on real images alone, the classifier reached a macro {measure} of "
        f"{fixed(base['value'])} ({span(base['low'], base['high'])}) on "
        f"{things(base['n_images'], 'real test image')} of {things(base['n_patients'], 'patient')}."
    ]
    if base["value"] > CEILING:
        sentences.append("That is its ceiling: this test leaves next to nothing to gain.")
    primary = [item for item in found if item.primary]
    others = [item for item in found if not item.primary]
    sentences += [f"Primary comparison ({item.arm_in_words}): {item.sentence}." for item in primary]
    if others:
        what = "comparison" if len(others) == 1 else "comparisons"
        what = f"Secondary {what}" if primary else what.capitalize()
        note = ", not corrected for their number" if len(others) > 1 else ""
        listed = "; ".join(f"{item.arm}, {item.sentence}" for item in others)
        sentences.append(f"{what}{note}: {listed}.")
    widths = [item.half_width for item in judged(found) if item.finding != "unknown"]
    if widths:
        narrowest = fixed(min(widths))
        sentences.append(
            f"The {'interval' if len(widths) == 1 else 'narrowest interval'} of the difference has "
            f"a half-width of {narrowest}: on this test set, a true difference smaller than about "
            f"{narrowest} cannot be told from none."
        )
    spreads = [item.seed_sd for item in judged(found) if known(item.seed_sd)]
    if spreads:
        sentences.append(
            f"Retraining the classifiers with another seed moves the difference by {fixed(max(spreads))} "
            f"(standard deviation over {len(settings['seeds'])} seeds), which the interval leaves out."
        )
    if any(item.finding == "unknown" for item in found):
        sentences.append(
            "A class has so few test patients that resamples missed it: intervals that need it are "
            "too narrow to conclude from."
        )
    return " ".join(sentences)
