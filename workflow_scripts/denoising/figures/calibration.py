"""Calibration drawn: how often intervals hold the truth, and the error against the spread."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.common.figures import MUTED, plt
from workflow_scripts.denoising.figures.colours import colours_of

PANEL = 2.7  # inches
TICKS = [step * 10.0**power for power in range(-6, 1) for step in (1, 2, 5)]


def draw_uncertainty(table: pd.DataFrame, spread: pd.DataFrame) -> Figure:
    """Draw a column per noise level: coverage above, error against spread below.

    Parameters
    ----------
    table : UNCERTAINTY
    spread : SPREAD, which may be empty: of too few answers
    """
    conditions = list(table["condition"].unique())
    colours = colours_of(table["method"].unique())
    rows = 2 if len(spread) else 1
    figure, axes = plt.subplots(
        rows,
        len(conditions),
        figsize=(PANEL * len(conditions) + 0.6, PANEL * rows + 0.5),
        layout="constrained",
        squeeze=False,
    )
    for column, condition in enumerate(conditions):
        here = table[table["condition"] == condition]
        axes[0, column].set_title(condition, fontsize=9, loc="left")
        draw_coverage(axes[0, column], here[here["measure"] == "coverage"], colours)
        if rows == 2:
            draw_spread(axes[1, column], spread[spread["condition"] == condition], colours)
    axes[0, 0].set_ylabel("truth inside")
    if rows == 2:
        axes[1, 0].set_ylabel("RMSE of the mean answer")
    handles = [
        plt.Line2D([], [], color=colour, marker="o", markersize=3.5, label=method)
        for method, colour in colours.items()
    ]
    handles.append(plt.Line2D([], [], color=MUTED, linestyle="--", linewidth=1, label="calibrated"))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def draw_coverage(axes: Axes, rows: pd.DataFrame, colours: dict[str, str]) -> None:
    """Draw the share of pixels whose truth lies in the intervals that answers span, nominal to found."""
    axes.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1)
    for method, part in rows.groupby("method", sort=False):
        part = part.sort_values("expected")
        axes.fill_between(
            part["expected"],
            part["low"],
            part["high"],
            color=colours[method],
            alpha=0.15,
            linewidth=0,
        )
        axes.plot(
            part["expected"],
            part["value"],
            color=colours[method],
            marker="o",
            markersize=3.5,
            linewidth=1.3,
        )
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="nominal", aspect="equal")
    axes.set_xticks([0, 0.5, 1])
    axes.set_yticks([0, 0.5, 1])


def draw_spread(axes: Axes, rows: pd.DataFrame, colours: dict[str, str]) -> None:
    """Draw error against spread, bin by bin, on equal logarithmic axes."""
    values = rows[["spread", "error"]].to_numpy()
    values = values[values > 0]
    low, high = (values.min() / 1.4, values.max() * 1.4) if len(values) else (0.01, 1)
    axes.plot([low, high], [low, high], color=MUTED, linestyle="--", linewidth=1)
    for method, part in rows.groupby("method", sort=False):
        axes.plot(
            part["spread"],
            part["error"],
            color=colours[method],
            marker="o",
            markersize=3.5,
            linewidth=1.3,
        )
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.set_xlabel("predicted by the spread")
    # Left to itself, a logarithmic axis of less than a decade numbers ticks until they overlap.
    ticks = [tick for tick in TICKS if low <= tick <= high]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(plt.FixedLocator(ticks))
        axis.set_major_formatter(plt.FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(plt.NullLocator())
