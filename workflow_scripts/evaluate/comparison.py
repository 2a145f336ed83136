"""The figure that sets models and samplers side by side."""

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter

from workflow_scripts.common.figures import COLOURS, INK, MUTED, WARM, plt
from workflow_scripts.common.numbers import MINUS
from workflow_scripts.common.wording import space_name

MARKERS = {
    "dpm++2m": "o",
    "dpm++2m_sde": "P",
    "unipc": "^",
    "ddim": "s",
    "heun": "D",
    "edm": "v",
    "ddpm": "X",
}
FLOOR = {"color": INK, "linewidth": 0.9, "linestyle": (0, (4, 3))}
COLUMNS = 6  # of a legend
KERNEL = "kernel_distance_"
ENDS = ("_low", "_high", "_floor")
WIDE = 30  # largest over smallest value from which the axis of quality is logarithmic


def draw(table: pd.DataFrame, phantom: bool = False) -> Figure:
    """Draw quality against sampling and against training, a row of panels per feature space.

    Left, every sampler by its network evaluations; those of one model and method are joined.
    Right, each model at its best sampler by what its training took; models of equal training stand
    side by side. Bars are 95 % intervals, the dashed line is what real images reach.

    Parameters
    ----------
    table : COMPARISON
    phantom : say that the films are drawn ones
    """
    measures = [name for name in table if name.startswith(KERNEL) and not name.endswith(ENDS)]
    measures = measures or ["class_accuracy"]
    colours = dict(zip(table["model"].unique(), cycle(COLOURS), strict=False))
    height = 3.1 * len(measures)
    figure, axes = plt.subplots(
        len(measures), 2, figsize=(9, height), squeeze=False, sharey="row", width_ratios=(5, 3)
    )
    for (left, right), measure in zip(axes, measures, strict=True):
        draw_sampling(left, table, measure, colours)
        draw_training(right, best(table, measure), measure, colours)
        for panel in (left, right):
            draw_floor(panel, table[f"{measure}_floor"])
        scale_quality(left, table, measure)
        left.set_ylabel(title(measure))
    axes[0][0].set_title("What sampling buys", loc="left", fontsize=10)
    axes[0][1].set_title("What training buys", loc="left", fontsize=10)
    axes[-1][0].set_xlabel("network evaluations per image, guidance included")
    axes[-1][1].set_xlabel("training in TFLOP, best sampler of each")
    figure.tight_layout(w_pad=2, h_pad=1.5)
    draw_legends(figure, colours, [name for name in MARKERS if name in set(table["method"])])
    if phantom:
        figure.text(1, 0, "Phantom films, not patients", ha="right", va="top", color=WARM)
    return figure


def draw_legends(figure: Figure, colours: dict[str, str], methods: list[str]) -> None:
    """Say above the panels which colour is which model, and which mark which method."""
    models = [
        Line2D([], [], color=colour, linewidth=3, label=name) for name, colour in colours.items()
    ]
    marks = [
        Line2D([], [], color=MUTED, marker=MARKERS[name], linestyle="", label=name)
        for name in methods
    ]
    marks.append(Line2D([], [], label="what real images reach", **FLOOR))
    line = 0.2 / figure.get_figheight()
    rows = -(-len(marks) // COLUMNS)
    for handles, above in ((marks, 0), (models, rows * line)):
        figure.legend(
            handles=handles, loc="lower left", bbox_to_anchor=(0.06, 1 + above), ncols=COLUMNS
        )


def draw_sampling(axes: Axes, table: pd.DataFrame, measure: str, colours: dict[str, str]) -> None:
    """Draw every sampler at its network evaluations, the series a little beside each other."""
    series = list(table.groupby(["model", "method"], sort=False))
    apart = min(0.03, 0.3 / len(series))
    for number, ((model, method), group) in enumerate(series):
        group = group.sort_values("evaluations")
        x = group["evaluations"] * np.exp(apart * (number - (len(series) - 1) / 2))
        axes.plot(x, group[measure], color=colours[model], linewidth=1.3, zorder=2)
        mark(axes, x, group, measure, colours[model], MARKERS[method])
    log_axis(axes, table["evaluations"])


def draw_training(axes: Axes, table: pd.DataFrame, measure: str, colours: dict[str, str]) -> None:
    """Draw each model at its training compute, those of about equal training side by side."""
    table = table.sort_values("training_tflop", kind="stable")
    place = np.log(table["training_tflop"])
    apart = 0.05 * max(np.ptp(place), 1)
    together = (place.diff() > apart).cumsum()
    for _, group in table.groupby(together):
        beside = apart * (np.arange(len(group)) - (len(group) - 1) / 2)
        for x, index in zip(np.exp(place[group.index].mean() + beside), group.index, strict=True):
            row = group.loc[[index]]
            model, method = row["model"].item(), row["method"].item()
            mark(axes, [x], row, measure, colours[model], MARKERS[method])
    log_axis(axes, np.exp(place.groupby(together).mean()), room=len(table) * apart / 2)


def mark(axes: Axes, x, rows: pd.DataFrame, measure: str, colour: str, marker: str) -> None:
    """Draw values and their intervals."""
    axes.vlines(
        x, rows[f"{measure}_low"], rows[f"{measure}_high"], color=colour, linewidth=1.3, zorder=2
    )
    axes.plot(
        x,
        rows[measure],
        color=colour,
        marker=marker,
        markersize=6,
        markeredgecolor="white",
        markeredgewidth=0.7,
        linestyle="",
        zorder=3,
    )


def draw_floor(axes: Axes, floor: pd.Series) -> None:
    """Draw what real images reach: a line, and a band where it differs between samplers."""
    axes.axhspan(floor.min(), floor.max(), color=MUTED, alpha=0.25, linewidth=0, zorder=0)
    axes.axhline(floor.median(), zorder=1, **FLOOR)


def log_axis(axes: Axes, values, room: float = 0.12) -> None:
    """Scale the x axis by logarithm, with the values themselves as ticks where there is space."""
    log = np.log(sorted(set(map(float, values))))
    reach = max(log[-1] - log[0], 1)
    shown = log[:1]
    for value in log[1:]:
        if value - shown[-1] > 0.09 * reach:
            shown = np.append(shown, value)
    axes.set_xscale("log")
    axes.set_xlim(
        np.exp((log[0] + log[-1] - reach) / 2 - 0.06 * reach - room),
        np.exp((log[0] + log[-1] + reach) / 2 + 0.06 * reach + room),
    )
    axes.xaxis.set_major_locator(FixedLocator(np.exp(shown)))
    axes.xaxis.set_major_formatter(FuncFormatter(plain))
    axes.minorticks_off()


def scale_quality(axes: Axes, table: pd.DataFrame, measure: str) -> None:
    """Scale the y axis from 0, by logarithm where values differ much."""
    values = table[[measure, *(measure + end for end in ENDS)]].to_numpy()
    low, high = min(np.nanmin(values), 0), np.nanmax(values)
    positive = table.loc[table[measure] > 0, measure]
    if len(positive) and positive.max() > WIDE * positive.min():
        axes.set_yscale("symlog", linthresh=positive.min(), linscale=0.8)
        axes.set_ylim(1.3 * low, 1.3 * high)
    else:
        room = 0.05 * (high - low)
        axes.set_ylim(low - room, high + room)  # below 0 too: the floor is often there
    axes.yaxis.set_major_formatter(FuncFormatter(plain))


def plain(value: float, _: int) -> str:
    """Return a tick's label: three digits, no exponent."""
    return f"{float(f'{value:.3g}'):,.10g}".replace("-", MINUS)


def best(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return each model's row of the best value."""
    value = table[measure] if measure.startswith(KERNEL) else -table[measure]
    return table.loc[value.groupby(table["model"], sort=False).idxmin()]


def title(measure: str) -> str:
    """Return what the axis of quality says."""
    if not measure.startswith(KERNEL):
        return "Seen as the class asked for\n(higher is better)"
    space = space_name(measure.removeprefix(KERNEL))
    return f"Kernel distance (lower is better),\nfeatures of {space}"
