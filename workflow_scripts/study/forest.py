"""The forest plot: each class's difference to the reference arm with its interval."""

import textwrap

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.common.figures import ACCENT, INK, MUTED, WARM, plt
from workflow_scripts.common.numbers import signed, signed_span
from workflow_scripts.common.schemas import ENOUGH_PATIENTS, MACRO

TITLES = {"auroc": "AUROC", "auprc": "AUPRC"}
WIDTH = 4.8  # inches: what is 9 points here is still readable on a phone
LINE = 0.2  # inches per arm


def draw_forest(summary: pd.DataFrame, reference: str, bootstrap: int, phantom: bool) -> Figure:
    """Draw the primary comparison's metric, of every class and arm.

    Parameters
    ----------
    summary : SUMMARY
    reference : the arm that every other is compared with
    bootstrap : resamples that were drawn
    phantom : whether the films are drawn ones, which the figure then says
    """
    metric = primary_row(summary)["metric"]
    rows = summary[(summary["metric"] == metric) & (summary["arm"] != reference)]
    arms = list(rows["arm"].unique())
    classes = [MACRO, *(name for name in rows["class_name"].unique() if name != MACRO)]
    colours = dict(zip(arms, palette(len(arms)), strict=True))
    pitch = len(arms) * LINE + 0.22  # inches per class
    height = len(classes) * pitch
    figure, axes = plt.subplots(figsize=(WIDTH, height))
    figure.subplots_adjust(left=0.3, right=0.67, bottom=0, top=1)

    axes.axvline(0, color=INK, linewidth=0.8, zorder=1)
    beside = axes.get_yaxis_transform()
    for place, class_name in enumerate(classes):
        middle = place * pitch
        if place % 2 == 0:
            axes.axhspan(
                middle - pitch / 2,
                middle + pitch / 2,
                xmin=-0.85,
                xmax=1.9,
                color="#f1f3f5",
                zorder=0,
                linewidth=0,
                clip_on=False,
            )
        here = rows[rows["class_name"] == class_name].set_index("arm")
        label_class(axes, class_name, here.iloc[0], middle)
        for number, arm in enumerate(arms):
            row, level = here.loc[arm], middle + (number - (len(arms) - 1) / 2) * LINE
            axes.plot(
                [row["difference_low"], row["difference_high"]],
                [level, level],
                color=colours[arm],
                linewidth=1.6,
                solid_capstyle="butt",
            )
            axes.plot(
                row["difference"],
                level,
                marker="D" if class_name == MACRO else "o",
                markersize=5,
                color=colours[arm],
                markerfacecolor=colours[arm] if row["significant"] else "white",
            )
            axes.text(
                1.05, level, printed(row), transform=beside, va="center", fontsize=7, color=INK
            )
    reach = np.abs(rows[["difference_low", "difference_high"]].to_numpy()).max()
    reach = 1.08 * max(float(reach), 0.01)
    axes.set(xlim=(-reach, reach), ylim=(height - pitch / 2, -pitch / 2), yticks=[])
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4, symmetric=True))
    axes.xaxis.set_major_formatter(lambda value, _: signed(value, 2))
    axes.set_xlabel(f"difference in {TITLES[metric]} to “{reference}”")
    handles = [plt.Line2D([], [], color=colours[arm], linewidth=1.6, label=arm) for arm in arms]
    # Positions above and below the axes are in inches, so that the number of classes moves nothing.
    top, bottom = 1 + 0.06 / height, -0.5 / height
    figure.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, top), ncols=3)
    legend_height = 0.2 * -(-len(arms) // 3) + 0.1
    if phantom:
        note = {"ha": "center", "va": "bottom", "color": WARM}
        figure.text(0.5, top + legend_height / height, "Phantom films, not patients", **note)
    figure.text(
        0.0, bottom, caption(rows, bootstrap), va="top", fontsize=7, color=MUTED, linespacing=1.4
    )
    return figure


def label_class(axes: plt.Axes, class_name: str, row: pd.Series, middle: float) -> None:
    """Write a class and how many test images and subjects it has, left of the axes."""
    name = "Mean of classes" if class_name == MACRO else class_name
    mark = " †" if row["fewest_patients"] < ENOUGH_PATIENTS else ""
    counts = ", ".join(
        f"{row[column]:,} {noun}{'' if row[column] == 1 else 's'}"
        for column, noun in (("positives", "image"), ("positive_patients", "subject"))
    )
    for text, below, size, colour in ((name + mark, -0.07, 9, INK), (counts, 0.09, 6.5, MUTED)):
        axes.text(
            -0.8,
            middle + below,
            text,
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=size,
            color=colour,
        )


def caption(rows: pd.DataFrame, bootstrap: int) -> str:
    """Return the sentences below the figure, wrapped to its width."""
    row = rows.iloc[0]
    primary = rows[rows["primary"]].iloc[0]
    seeds = f"mean of {row['seeds']} seeds" if row["seeds"] > 1 else "one seed"
    texts = [
        f"Test set: {row['n_images']:,} images of {row['n_patients']:,} subjects. Marks: {seeds}. "
        f"Lines: 95\u00a0% interval, paired bootstrap by subject ({bootstrap:,} resamples), each for "
        "itself, of these classifiers. Filled marks alone are significant, at 5\u00a0% for other "
        "subjects and other seeds alike: the primary comparison, and its classes after Holm's "
        "correction. Other arms are secondary, their classes too, and never filled.",
        f"Primary comparison: “{primary['arm']}”, mean of classes, {printed(primary)}.",
    ]
    if row["seeds"] == 1:
        texts.append("Another training was not tried, so that no mark is filled.")
    if (rows["fewest_patients"] < ENOUGH_PATIENTS).any():
        texts.append(
            f"† Too few to tell: fewer than {ENOUGH_PATIENTS} subjects with the class, or without "
            "it; a mean of classes is as its rarest class. No such mark is filled."
        )
    return "\n".join(textwrap.fill(text, 96) for text in texts)


def primary_row(summary: pd.DataFrame) -> pd.Series:
    """Return the row of the comparison that was named before looking."""
    return summary[summary["primary"]].iloc[0]


def printed(row: pd.Series) -> str:
    """Return "+0.012 (−0.003, +0.027)"."""
    ends = signed_span(row["difference_low"], row["difference_high"])
    return f"{signed(row['difference'])} ({ends.replace(' to ', ', ')})"


def palette(count: int) -> list:
    """Return `count` colours that stay apart."""
    if count <= 3:
        return [ACCENT, WARM, MUTED][:count]
    return list(matplotlib.colormaps["viridis"](np.linspace(0, 0.85, count)))
