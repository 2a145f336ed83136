"""Methods against each other: by noise level, and by the number of steps."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.common.figures import MUTED, plt

LABELS = {"psnr": "PSNR (dB)", "ssim": "SSIM", "mae": "mean absolute error"}
WIDTH, HEIGHT = 3.1, 2.7  # inches of a panel


def draw_methods(
    summary: pd.DataFrame, variances: dict[str, float], colours: dict[str, str]
) -> Figure:
    """Draw each metric against the noise's variance, with 95 % intervals.

    One answer of a method that draws several is dashed, their mean solid. A method without a colour
    is left out.

    Parameters
    ----------
    summary : RESTORATION_SUMMARY
    variances : of each condition
    colours : of each method
    """
    figure, axes = plt.subplots(1, 3, figsize=(3 * WIDTH, HEIGHT + 0.6), layout="constrained")
    summary = summary[summary["method"].isin(colours)]
    drawn = summary.groupby("method")["samples"].max()
    for panel, (metric, label) in zip(axes, LABELS.items(), strict=True):
        rows = summary[summary["metric"] == metric]
        cases = list(rows.groupby(["method", "samples"], sort=False))
        for number, ((method, samples), part) in enumerate(cases):
            # A little apart, so that intervals do not hide each other.
            shift = 1.012 ** (number - (len(cases) - 1) / 2)
            x = part["condition"].map(variances) * shift
            panel.errorbar(
                x,
                part["value"],
                yerr=[part["value"] - part["low"], part["high"] - part["value"]],
                color=colours[method],
                linestyle="-" if samples == drawn[method] else (0, (3, 2)),
                linewidth=1.4 if samples == drawn[method] else 1,
                marker="o" if samples == drawn[method] else None,
                markersize=3,
                elinewidth=0.8,
            )
        panel.set(xscale="log", xlabel="variance of the noise", ylabel=label)
        panel.set_xticks(sorted(variances.values()), [f"{v:g}" for v in sorted(variances.values())])
        panel.xaxis.set_minor_locator(plt.NullLocator())
    handles = [
        plt.Line2D(
            [], [], color=colour, marker="o", markersize=3, label=named(method, drawn[method])
        )
        for method, colour in colours.items()
    ]
    if (drawn > 1).any():
        handles.append(
            plt.Line2D([], [], color=MUTED, linestyle=(0, (3, 2)), linewidth=1, label="one answer")
        )
    figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 5))
    return figure


def named(method: str, samples: int) -> str:
    """Return a method's name, and of how many answers the mean is."""
    return f"{method}, mean of {samples}" if samples > 1 else method


def draw_steps(sweep: pd.DataFrame, method: str, colours: dict[str, str]) -> Figure:
    """Draw each metric against the number of steps: a row of panels per noise level.

    Parameters
    ----------
    sweep : SWEEP
    method : the diffusion model that was sampled, for the title
    colours : of each sampler
    """
    conditions = list(sweep["condition"].unique())
    figure, axes = plt.subplots(
        len(conditions),
        len(LABELS),
        figsize=(len(LABELS) * WIDTH, len(conditions) * (HEIGHT - 0.6) + 0.7),
        layout="constrained",
        squeeze=False,
        sharex=True,
    )
    most = sweep["samples"].max()
    for row, condition in enumerate(conditions):
        for panel, (metric, label) in zip(axes[row], LABELS.items(), strict=True):
            here = sweep[(sweep["condition"] == condition) & (sweep["metric"] == metric)]
            for (sampler, samples), part in here.groupby(["sampler", "samples"], sort=False):
                draw_line(panel, part.sort_values("steps"), colours[sampler], samples == most)
            panel.set_ylabel(label)
            panel.set_xscale("log")
        axes[row, 0].set_title(condition, fontsize=9, loc="left")
    steps = sorted(sweep["steps"].unique())
    for panel in axes[-1]:
        panel.set_xlabel("steps")
        panel.set_xticks(steps, [str(count) for count in steps])
        panel.xaxis.set_minor_locator(plt.NullLocator())
    handles = [
        plt.Line2D(
            [],
            [],
            color=colour,
            marker="o",
            markersize=3,
            label=f"{method}, {named(sampler, most)}",
        )
        for sampler, colour in colours.items()
    ]
    if most > 1:
        handles.append(
            plt.Line2D([], [], color=MUTED, linestyle=(0, (3, 2)), linewidth=1, label="one answer")
        )
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def draw_line(axes: Axes, part: pd.DataFrame, colour: str, mean: bool) -> None:
    """Draw one case with its intervals; the mean of several answers solid, one answer dashed."""
    axes.errorbar(
        part["steps"],
        part["value"],
        yerr=[part["value"] - part["low"], part["high"] - part["value"]],
        color=colour,
        linestyle="-" if mean else (0, (3, 2)),
        linewidth=1.4 if mean else 1,
        marker="o" if mean else None,
        markersize=3,
        elinewidth=0.8,
    )
