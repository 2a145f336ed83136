"""What a study shows, in words that never claim more than it carries.

The words are computed. A gain or a loss is what the study calls significant, for other subjects and
other seeds alike, whatever the sign of a difference. The headline speaks of the primary comparison
alone, which the configuration named beforehand; of classes only its own count, after Holm's
correction. Other arms are listed, as not corrected for their number, and nothing is claimed of
them; calibration and gaps between groups are exploratory.
"""

import pandas as pd

from workflow_scripts.common.numbers import (
    fixed,
    known,
    percent,
    span,
    things,
)
from workflow_scripts.common.schemas import ENOUGH_PATIENTS, MACRO
from workflow_scripts.report.comparisons import (
    MEASURES,
    Comparison,
    arm_in_words,
    compared,
    comparisons,
    listed,
    macro_rows,
    primary_metric,
)

EXPLORATORY = "exploratory, not corrected for their number"
CEILING = 0.995  # of a measure whose best is 1


def primary_comparison(found: list[Comparison]) -> Comparison:
    """Return the comparison that was named beforehand."""
    return next(item for item in found if item.primary)


def headline(found: list[Comparison]) -> str:
    """Return the result of a study, that of the primary comparison, in a few words."""
    item = primary_comparison(found)
    if item.once:
        return "A difference of these classifiers; another training was not tried"
    return {
        "gain": "A gain",
        "loss": "A loss",
        "none": "No evidence of a gain",
        "unknown": "Too few test subjects to tell",
    }[item.finding]


def paragraph(summary: pd.DataFrame, settings: dict, subgroups: pd.DataFrame) -> str:
    """Return the paragraph below the headline.

    The reference; the primary comparison with what could have been seen, its spread over seeds,
    its classes, its calibration and its gaps between groups; the other arms; caveats.

    Parameters
    ----------
    summary, subgroups : SUMMARY and SUBGROUPS of one study
    settings : the study's section of the configuration
    """
    found = comparisons(summary, settings)
    item = primary_comparison(found)
    rows = summary[summary["arm"] == item.arm]
    sentences = [
        of_reference(summary, settings),
        f"Primary comparison ({arm_in_words(item.arm, settings)}): {item.sentence}.",
        *of_power(rows, item),
        *of_seeds(item),
        *of_classes(rows, settings),
        *of_calibration(rows, settings),
        *of_gaps(subgroups[subgroups["arm"] == item.arm]),
        *of_others([item for item in found if not item.primary]),
    ]
    if any(item.finding == "unknown" for item in found):
        sentences.append(
            f"A class has fewer than {ENOUGH_PATIENTS} test subjects: intervals that need it are "
            "too narrow to conclude from."
        )
    share = settings["patients"]
    if share < 1:
        sentences.append(
            f"Every arm had the images of {percent(share)} of the training subjects, but the "
            "generator that drew the synthetic images had seen all of them: this is not what "
            f"{percent(share)} of the subjects would give by themselves."
        )
    return " ".join(sentences)


def of_reference(summary: pd.DataFrame, settings: dict) -> str:
    """Say what the reference reached, on what, and whether there is anything to gain."""
    rows = macro_rows(summary)
    base = rows[rows["arm"] == settings["reference"]].iloc[0]
    text = (
        f"Trained on real images alone, the classifier reached a macro "
        f"{MEASURES[primary_metric(summary)]} of {fixed(base['value'])} "
        f"({span(base['low'], base['high'])}) on {things(base['n_images'], 'real test image')} of "
        f"{things(base['n_patients'], 'subject')}."
    )
    if base["value"] > CEILING:
        text += " That is its ceiling: this test leaves next to nothing to gain."
    return text


def of_power(rows: pd.DataFrame, item: Comparison) -> list[str]:
    """Say how small a gain could have been seen."""
    gain = rows.loc[rows["primary"], "detectable"].iloc[0]
    if item.finding == "unknown" or not known(gain):
        return []
    return [
        f"The trained classifiers given, this test set could have shown a gain of {fixed(gain)} "
        "with 80\u00a0% power; smaller ones it would rather miss."
    ]


def of_seeds(item: Comparison) -> list[str]:
    """Say what retraining changes."""
    if not known(item.seed_sd):
        return ["Each arm was trained once: what another seed would change is not known."]
    return [
        f"Retraining the classifiers with another seed moves the difference by "
        f"{fixed(item.seed_sd)} (standard deviation over {item.seeds} seeds), which "
        "the interval leaves out."
    ]


def of_classes(rows: pd.DataFrame, settings: dict) -> list[str]:
    """Say which classes of the primary arm gain or lose, after Holm's correction."""
    mine = rows[(rows["metric"] == primary_metric(rows)) & (rows["class_name"] != MACRO)]
    items = [compared(row, settings) for row in mine.to_dict("records")]
    told = [item for item in items if item.finding in ("gain", "loss")]
    if not items or all(item.finding == "unknown" for item in items):
        return []
    text = f"Of its {classes(len(items))}, after Holm's correction for their number, "
    few = any(item.finding == "unknown" for item in items)
    if not told:
        also = "; some have too few test subjects to tell" if few else ""
        return [f"{text}none shows a gain or a loss{also}."]
    each = listed([f"{item.class_name} a {item.finding} of {item.numbers}" for item in told])
    rest = "the others show neither, or have too few" if few else "the others show neither"
    return [f"{text}{each}{f'; {rest}' * (len(told) < len(items))}."]


def of_calibration(rows: pd.DataFrame, settings: dict) -> list[str]:
    """Say whether the primary arm's probabilities deserve more or less trust than before."""
    found = rows[rows["metric"] == "calibration_error"]
    if found.empty:
        return []
    row = found.iloc[0]
    item = compared(row.to_dict(), settings)
    change = "no evidence of a change"
    if not item.enough:
        change = "too few test subjects to tell"
    elif item.clear:
        change = f"{'less well' if item.low > 0 else 'better'} calibrated than the reference"
    return [
        f"Its expected calibration error is {fixed(row['value'])}, {item.numbers}: {change} "
        f"({EXPLORATORY})."
    ]


def of_gaps(subgroups: pd.DataFrame) -> list[str]:
    """Say between which groups the primary arm differs, where the interval of the gap excludes 0."""
    sentences = []
    for attribute, rows in subgroups.groupby("attribute", sort=False):
        gap, groups = rows[rows["group"] == "gap"], rows[rows["group"] != "gap"]
        if gap.empty or not gap["low"].iloc[0] > 0:
            continue
        gap = gap.iloc[0]
        best, worst = groups.loc[groups["value"].idxmax()], groups.loc[groups["value"].idxmin()]
        change = ""
        if gap["difference_low"] > 0:
            change = ", wider than the reference's"
        elif gap["difference_high"] < 0:
            change = ", narrower than the reference's"
        sentences.append(
            f"By {attribute} its macro AUROC (over {classes(gap['classes'])}) is "
            f"{fixed(best['value'])} for {best['group']} and {fixed(worst['value'])} for "
            f"{worst['group']}: a gap of {fixed(gap['value'])} ({span(gap['low'], gap['high'])})"
            f"{change} ({EXPLORATORY})."
        )
    return sentences


def of_others(others: list[Comparison]) -> list[str]:
    """List the comparisons that were not named beforehand, and claim nothing of them."""
    if not others:
        return []
    each = "; ".join(f"{item.arm} {item.numbers}" for item in others)
    reliable = [item for item in others if item.finding != "unknown"]
    clear = sum(item.clear for item in reliable)
    text = f"Secondary comparison{'s, not corrected for their number' * (len(others) > 1)}: {each}."
    if len(reliable) == 1:
        text += f" The interval {'excludes' if clear else 'does not exclude'} 0."
    elif reliable:
        text += (
            f" Of these {len(reliable)} intervals {clear or 'none'} exclude{'s' * (clear == 1)} 0."
        )
    return [text]


def classes(number: int) -> str:
    """Return "1 class" or "2 classes"."""
    return "1 class" if number == 1 else f"{number} classes"
