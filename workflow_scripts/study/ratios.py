"""The gain in the primary metric against how many synthetic images an arm has."""

import textwrap

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.common.figures import ACCENT, INK, MUTED, WARM, plt
from workflow_scripts.common.numbers import fixed, signed
from workflow_scripts.common.schemas import MACRO
from workflow_scripts.study.forest import TITLES, WIDTH, primary_row

HEIGHT = 3.0  # inches
# What an arm may be, with its mark and colour.
KINDS = {
    "real + synthetic": ("o", ACCENT),
    "real + synthetic of some classes": ("D", "#2b8a3e"),
    "synthetic first, then real": ("s", "#5f3dc4"),
    "synthetic alone": ("^", WARM),
}


def kind(settings: dict) -> str:
    """Return which of `KINDS` an arm with synthetic images is, by its configuration section."""
    mixed, some, first, alone = KINDS
    if not settings["real"]:
        return alone
    if settings["order"] == "pretrain":
        return first
    return mixed if settings["classes"] == "all" else some


def draw_ratios(
    summary: pd.DataFrame,
    arms: list[tuple[str, dict]],
    reference: str,
    phantom: bool,
) -> Figure:
    """Draw the mean of classes of every arm that has synthetic images.

    Parameters
    ----------
    summary : SUMMARY
    arms : name and configuration section of each arm
    reference, phantom : as in `draw_forest`
    """
    primary = primary_row(summary)
    metric = TITLES[primary["metric"]]
    rows = summary[(summary["metric"] == primary["metric"]) & (summary["class_name"] == MACRO)]
    rows = rows.set_index("arm")
    shown = [
        (arm, settings) for arm, settings in arms if settings["synthetic"] and arm != reference
    ]
    figure, axes = plt.subplots(figsize=(WIDTH, HEIGHT))
    axes.axhline(0, color=INK, linewidth=0.8, zorder=1)
    axes.set_ylabel(f"gain in {metric}, mean of classes")
    axes.set_xlabel("synthetic images per real image of the study")
    if not shown:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.6, "No arm has synthetic images", transform=axes.transAxes, ha="center")
        return figure

    ratios = sorted({settings["synthetic"] for _, settings in shown})
    for name, (mark, colour) in KINDS.items():
        members = [(arm, settings) for arm, settings in shown if kind(settings) == name]
        for arm, settings in members:
            row = rows.loc[arm]
            level = [other for other, there in shown if there["synthetic"] == settings["synthetic"]]
            # Arms of one ratio stand side by side.
            place = ratios.index(settings["synthetic"]) + 0.16 * (
                level.index(arm) - (len(level) - 1) / 2
            )
            ends = [row["difference_low"], row["difference_high"]]
            axes.plot([place, place], ends, color=colour, linewidth=1.6, solid_capstyle="butt")
            axes.plot(
                place,
                row["difference"],
                marker=mark,
                markersize=6,
                color=colour,
                markerfacecolor=colour if row["significant"] else "white",
                linestyle="none",
                label=name if arm == members[0][0] else None,
            )
            if arm == primary["arm"]:
                axes.annotate(
                    "primary",
                    (place, ends[1]),
                    xytext=(0, 3),
                    textcoords="offset points",
                    ha="center",
                    fontsize=7,
                    color=INK,
                )
    reach = rows.loc[[arm for arm, _ in shown], ["difference_low", "difference_high"]].to_numpy()
    reach = 1.15 * max(float(np.abs(reach).max()), 0.01)
    axes.set(xlim=(-0.6, len(ratios) - 0.4), ylim=(-reach, reach))
    axes.set_xticks(range(len(ratios)), [f"{ratio:g}" for ratio in ratios])
    axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5, symmetric=True))
    axes.yaxis.set_major_formatter(lambda value, _: signed(value, 3))
    figure.legend(loc="lower center", bbox_to_anchor=(0.5, 0.9), ncols=2, fontsize=8)
    if phantom:
        figure.text(0.5, 1.06, "Phantom films, not patients", ha="center", color=WARM)
    figure.text(0.0, -0.06, caption(primary, reference), va="top", fontsize=7, color=MUTED)
    return figure


def caption(primary: pd.Series, reference: str) -> str:
    """Return the sentences below the figure, wrapped to its width."""
    text = (
        f"Difference to “{reference}”; lines: 95\u00a0% interval, paired bootstrap by subject. Filled: "
        "the primary comparison, if it is significant for other subjects and other seeds alike; all "
        f"others are secondary and stand uncorrected. With 80\u00a0% power, the trained classifiers "
        f"given, this test set shows a true gain of {fixed(primary['detectable'])} or more in the "
        "primary comparison."
    )
    return textwrap.fill(text, 96)
