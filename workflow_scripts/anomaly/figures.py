"""Figures of a search: AUROC against noise, each finding, and what healing does to a film."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from workflow_scripts.common.figures import INK, MUTED, WARM, plt
from workflow_scripts.common.schemas import MACRO

COLOURS = {"gaussian": "#0072B2", "simplex": "#D55E00", "autoencoder": "#5c6670"}
MARKS = {"gaussian": "o", "simplex": "D", "autoencoder": "s"}
NAMES = {
    "gaussian": "Gaussian noise",
    "simplex": "simplex noise",
    "autoencoder": "autoencoder of healthy images",
}
MEASURES = {
    "auroc": "AUROC of the image",
    "pixel_auroc": "AUROC of its pixels",
    "average_precision": "average precision of its pixels",
    "dice": "Dice",
    "hit": "hit rate of the maximum",
}
COLUMNS = 3
PHANTOM = "Phantom films, not patients"


@dataclass(frozen=True)
class Healed:
    """A film made healthy in one way: the picture, and its residual map in grey levels."""

    method: str
    level: float
    picture: np.ndarray  # uint8 (h, w) or (h, w, 3)
    residual: np.ndarray  # float (h, w)


@dataclass(frozen=True)
class Example:
    """A film, its healthy versions, and where its finding is, if that is known."""

    title: str
    picture: np.ndarray
    healed: Sequence[Healed]
    region: np.ndarray | None  # bool (h, w)


def heading(class_name: str) -> str:
    """Return how a class is called in a figure."""
    return "Mean of findings" if class_name == MACRO else class_name


def draw_sweep(summary: pd.DataFrame, phantom: bool) -> Figure:
    """Draw the AUROC of health against each finding by the noise up to which films were healed.

    Parameters
    ----------
    summary : ANOMALY_SUMMARY
    phantom : say that the films are drawn ones
    """
    rows = summary[summary["measure"] == "auroc"]
    names = [MACRO, *(name for name in rows["class_name"].unique() if name != MACRO)]
    lines = -(-len(names) // COLUMNS)
    figure, cells = plt.subplots(
        lines, COLUMNS, figsize=(8.4, 2.3 * lines + 0.3), sharex=True, sharey=True, squeeze=False
    )
    for cell in cells.flat[len(names) :]:
        cell.axis("off")
    for cell, name in zip(cells.flat, names, strict=False):
        draw_levels(cell, rows[rows["class_name"] == name])
        cell.set_title(
            heading(name), fontsize=9, loc="left", weight="bold" if name == MACRO else None
        )
    levels = sorted(rows.loc[rows["level"] > 0, "level"].unique())
    for number, cell in enumerate(cells.flat):
        below = number + COLUMNS >= len(names)
        cell.tick_params(labelbottom=below)
        if below and number < len(names):
            cell.set_xlabel("noise over signal, σ/α")
    first = cells[0][0]
    first.set_xscale("log")
    first.xaxis.set_major_locator(FixedLocator(levels))
    first.xaxis.set_minor_locator(NullLocator())
    first.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    low = min(0.4, rows["low"].min())
    first.set_ylim(max(0, low - 0.02), 1.02)
    for row in cells:
        row[0].set_ylabel("AUROC")
    figure.tight_layout(h_pad=1.2, w_pad=1.2)
    legend(figure, list(rows["method"].unique()), chosen=True)
    note(figure, phantom)
    return figure


def draw_levels(cell: Axes, rows: pd.DataFrame) -> None:
    """Draw one finding's AUROC of every method."""
    cell.axhline(0.5, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)), zorder=0)
    for method, own in rows.groupby("method", sort=False):
        colour = COLOURS[method]
        if method == "autoencoder":
            row = own.iloc[0]
            cell.axhspan(row["low"], row["high"], color=colour, alpha=0.13, linewidth=0, zorder=0)
            cell.axhline(row["value"], color=colour, linewidth=1.4, zorder=1)
            continue
        own = own.sort_values("level")
        cell.fill_between(
            own["level"], own["low"], own["high"], color=colour, alpha=0.16, linewidth=0
        )
        cell.plot(own["level"], own["value"], color=colour, linewidth=1.5, zorder=2)
        for row in own.itertuples():
            cell.plot(
                row.level,
                row.value,
                marker=MARKS[method],
                markersize=6 if row.chosen else 4,
                color=colour,
                markerfacecolor=colour if row.chosen else "white",
                zorder=3,
            )


def draw_findings(summary: pd.DataFrame, phantom: bool) -> Figure:
    """Draw every measure of every finding at the levels that validation chose.

    Parameters
    ----------
    summary, phantom : as of `draw_sweep`
    """
    rows = summary[summary["chosen"]]
    measures = [name for name in MEASURES if name in set(rows["measure"])]
    names = [name for name in rows["class_name"].unique() if name != MACRO]
    names = [MACRO, *names]
    methods = list(rows["method"].unique())
    pitch, step = 0.24 * len(methods) + 0.14, 0.24
    height = len(names) * pitch
    lines = -(-len(measures) // COLUMNS)
    figure, cells = plt.subplots(
        lines,
        min(COLUMNS, len(measures)),
        figsize=(9, lines * (height + 0.75)),
        sharey=True,
        squeeze=False,
    )
    for cell in cells.flat[len(measures) :]:
        cell.axis("off")
    for cell, measure in zip(cells.flat, measures, strict=False):
        for place, name in enumerate(names):
            if place % 2 == 0:
                cell.axhspan(
                    (place - 0.5) * pitch, (place + 0.5) * pitch, color="#f1f3f5", zorder=0
                )
            here = rows[(rows["measure"] == measure) & (rows["class_name"] == name)]
            for row in here.itertuples():
                at = place * pitch + step * (methods.index(row.method) - (len(methods) - 1) / 2)
                draw_value(cell, row, at)
            if len(here):
                half = pitch / 2 - 0.05
                ends = place * pitch - half, place * pitch + half
                cell.vlines(
                    here["chance"].iloc[0], *ends, color=INK, linewidth=1, linestyle=(0, (2, 1))
                )
        cell.set_title(MEASURES[measure], loc="left", fontsize=9)
        cell.set(xlim=(-0.02, 1.02), ylim=((len(names) - 0.5) * pitch, -pitch / 2))
        cell.set_yticks([place * pitch for place in range(len(names))], map(heading, names))
        cell.tick_params(axis="y", length=0)
        cell.spines["left"].set_visible(False)
    figure.tight_layout(w_pad=1.5, h_pad=1.2)
    legend(figure, methods, chosen=False)
    note(figure, phantom)
    return figure


def draw_value(cell: Axes, row, at: float) -> None:
    """Draw one value with its interval."""
    colour = COLOURS[row.method]
    cell.plot([row.low, row.high], [at, at], color=colour, linewidth=1.6, solid_capstyle="butt")
    cell.plot(
        row.value,
        at,
        marker=MARKS[row.method],
        markersize=5,
        color=colour,
        markeredgecolor="white",
        markeredgewidth=0.6,
    )


def legend(figure: Figure, methods: list[str], chosen: bool) -> None:
    """Say above the panels what the marks are."""
    handles = [
        Line2D(
            [],
            [],
            color=COLOURS[name],
            marker="" if chosen and name == "autoencoder" else MARKS[name],
            markersize=5,
            linewidth=1.6,
            label=NAMES[name],
        )
        for name in methods
    ]
    dash = Line2D([], [], color=MUTED if chosen else INK, linewidth=1, linestyle=(0, (2, 1.5)))
    dash.set_label("chance")
    handles.append(dash)
    if chosen:
        filled = Line2D([], [], color=INK, marker="o", linestyle="", markersize=6)
        filled.set_label("level that validation chose")
        handles.append(filled)
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.04, 1), ncols=3, fontsize=8)


def note(figure: Figure, phantom: bool) -> None:
    """Say below that the films are drawn ones."""
    if phantom:
        figure.text(1, 0, PHANTOM, ha="right", va="top", color=WARM, fontsize=8)


def draw_examples(examples: Sequence[Example], phantom: bool) -> Figure:
    """Draw films with their healthy versions and residual maps, a row for each.

    All residual maps share one scale; the outline is where the finding is.

    Parameters
    ----------
    phantom : as of `draw_sweep`
    """
    ways = examples[0].healed
    columns = 1 + 2 * len(ways)
    size = 1.25
    figure, cells = plt.subplots(
        len(examples),
        columns,
        figsize=(columns * size, len(examples) * size * 1.02),
        squeeze=False,
        gridspec_kw={"wspace": 0.03, "hspace": 0.03},
    )
    most = max(float(one.residual.max()) for example in examples for one in example.healed)
    for row, example in zip(cells, examples, strict=True):
        for cell in row:
            cell.set(xticks=[], yticks=[])
            cell.spines[:].set_visible(False)
        show(row[0], example.picture)
        outline(row[0], example.region, WARM)
        row[0].set_ylabel(
            textwrap.fill(example.title, 14), fontsize=8, rotation=0, ha="right", va="center"
        )
        for number, one in enumerate(example.healed):
            left, right = row[1 + 2 * number], row[2 + 2 * number]
            show(left, one.picture)
            shade = right.imshow(one.residual, cmap="magma", vmin=0, vmax=most)
            outline(right, example.region, "white")
            peak = np.unravel_index(one.residual.argmax(), one.residual.shape)
            right.plot(
                peak[1], peak[0], marker="+", color="#4dd0e1", markersize=6, markeredgewidth=1.2
            )
    cells[0][0].set_title("image", fontsize=8)
    for number, one in enumerate(ways):
        level = f", σ/α {one.level:g}" if one.level else ""
        cells[0][1 + 2 * number].set_title(f"{SHORT[one.method]}{level}", fontsize=8, loc="left")
        cells[0][2 + 2 * number].set_title("residual", fontsize=8)
    bar = figure.colorbar(shade, ax=list(cells.flat), fraction=0.012, pad=0.012, aspect=40)
    bar.set_label("grey levels apart, smoothed", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
    if phantom:
        below = {"ha": "left", "va": "top", "color": WARM, "fontsize": 8}
        cells[-1][0].text(0, -0.06, PHANTOM, transform=cells[-1][0].transAxes, **below)
    return figure


SHORT = {"gaussian": "Gaussian", "simplex": "simplex", "autoencoder": "autoencoder"}


def show(cell: Axes, picture: np.ndarray) -> None:
    """Show a picture in its own grey levels."""
    cell.imshow(picture, cmap="gray", vmin=0, vmax=255)


def outline(cell: Axes, region: np.ndarray | None, colour: str) -> None:
    """Draw the border of a region."""
    if region is not None and region.any():
        cell.contour(region.astype(float), levels=[0.5], colors=[colour], linewidths=0.8)
