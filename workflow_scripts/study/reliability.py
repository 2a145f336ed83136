"""The reliability diagram: how often classifiers are right, against how sure they are."""

import textwrap

import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.common.figures import ACCENT, INK, MUTED, WARM, plt
from workflow_scripts.common.numbers import fixed, span
from workflow_scripts.study.calibration import BINS

PANEL = (1.75, 2.15)  # inches
COLUMNS = 3


def draw_reliability(
    calibration: pd.DataFrame, summary: pd.DataFrame, arms: list[str], phantom: bool
) -> Figure:
    """Draw accuracy against confidence of each arm, above how many predictions there are.

    Parameters
    ----------
    calibration : CALIBRATION
    summary : SUMMARY, for the calibration errors
    arms : in the order of the panels
    phantom : as in `draw_forest`
    """
    columns = min(COLUMNS, len(arms))
    lines = -(-len(arms) // columns)
    size = (PANEL[0] * columns, PANEL[1] * lines)
    figure = plt.figure(figsize=size)
    outer = figure.add_gridspec(
        lines, columns, left=0, right=1, bottom=0, top=1, hspace=0.62, wspace=0.28
    )
    errors = summary[summary["metric"] == "calibration_error"].set_index("arm")
    most = calibration["images"].max()
    for number, arm in enumerate(arms):
        cell = outer[number // columns, number % columns].subgridspec(
            2, 1, height_ratios=[3, 1], hspace=0.2
        )
        upper, lower = figure.add_subplot(cell[0]), figure.add_subplot(cell[1])
        rows = calibration[calibration["arm"] == arm]
        upper.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        upper.plot(rows["confidence"], rows["accuracy"], color=ACCENT, linewidth=0.8)
        # The area of a mark is the share of predictions in it.
        upper.scatter(
            rows["confidence"], rows["accuracy"], s=4 + 60 * rows["images"] / most, color=ACCENT
        )
        middle = (rows["bin"] + 0.5) / BINS
        lower.bar(middle, rows["images"], width=0.9 / BINS, color=ACCENT)
        error = errors.loc[arm]
        interval = span(error["low"], error["high"])
        upper.set_title(f"{arm}\n", fontsize=9)
        upper.text(
            0.5,
            1.04,
            f"error {fixed(error['value'])} ({interval})",
            transform=upper.transAxes,
            ha="center",
            fontsize=6.5,
            color=MUTED,
        )
        upper.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[0, 0.5, 1])
        lower.set(xlim=(0, 1), ylim=(0, most), xticks=[0, 0.5, 1], yticks=[0, most])
        lower.set_yticks([0, most], ["0", f"{most:,}"])
        for axes in (upper, lower):
            axes.tick_params(labelsize=7)
            axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"] if axes is lower else [])
        if number % columns == 0:
            upper.set_ylabel("share right", fontsize=8)
            lower.set_ylabel("count", fontsize=8)
        if number + columns >= len(arms):
            lower.set_xlabel("confidence", fontsize=8)
    if phantom:
        note = {"ha": "center", "va": "bottom", "color": WARM}
        figure.text(0.5, 1 + 0.45 / size[1], "Phantom films, not patients", **note)
    figure.text(
        0, -0.55 / size[1], caption(errors.iloc[0], size[0]), va="top", fontsize=7, color=INK
    )
    return figure


def caption(row: pd.Series, width: float) -> str:
    """Return the sentences below the figure, wrapped to its width in inches."""
    text = (
        f"{row['n_images']:,} test images, {row['seeds']} "
        f"{'seed' if row['seeds'] == 1 else 'seeds pooled'}, {BINS} bins of confidence, the "
        "probability of the most probable class. On the dashed line a classifier is as often right "
        "as it says. Error: expected calibration error, mean over seeds, with 95\u00a0% interval; with few "
        "images it comes out too large."
    )
    return textwrap.fill(text, int(19 * max(width, 2.5)))
