"""The figure of a reader study: each reader, and each class, beside chance."""

from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.figures import ACCENT, INK, MUTED, WARM, plt, save_figure
from workflow_scripts.common.numbers import count, fixed, known, span
from workflow_scripts.common.schemas import POOLED
from workflow_scripts.readers.responses import ALL_READERS

# (title, {measure: (label, colour)})
PANELS = [
    ("Real or synthetic:\nshare right", {"accuracy": ("", INK)}),
    ("Real or synthetic:\nd′", {"d_prime": ("", INK)}),
    (
        "Class:\nshare right",
        {
            "finding_accuracy_real": ("on real images", ACCENT),
            "finding_accuracy_synthetic": ("on synthetic images", WARM),
        },
    ),
]
LINE = 0.34  # inches per reader or class


def plot_scores(scores: pd.DataFrame, path: Path, classes: list[str], phantom: bool) -> None:
    """Write the figure (PNG): readers above, classes below, each mark with its 95 % interval.

    Parameters
    ----------
    scores : READER_SCORES
    classes : in the order to show them
    phantom : whether to say that no patient was shown
    """
    readers = list(scores["reader"].unique())
    whole = ALL_READERS if ALL_READERS in readers else readers[0]
    by_reader = scores[scores["class_name"] == POOLED].assign(line=lambda rows: rows["reader"])
    by_class = scores[scores["reader"] == whole].assign(line=lambda rows: rows["class_name"])
    heights = [len(readers) * LINE, len(classes) * LINE]
    figure, axes = plt.subplots(
        2,
        len(PANELS),
        figsize=(8.4, sum(heights) + 1.3),
        height_ratios=heights,
        sharex="col",
        layout="constrained",
    )
    for row, (rows, lines) in enumerate(((by_reader, readers), (by_class, classes))):
        for column, (title, measures) in enumerate(PANELS):
            panel = axes[row, column]
            draw(panel, rows, lines, measures)
            if row == 0:
                panel.set_title(title, fontsize=9, loc="left", fontweight="bold")
            if column:
                panel.tick_params(labelleft=False)
    for panel in axes[:, [0, 2]].flat:
        panel.set_xlim(-0.03, 1.03)
    axes[1, 0].set_title(f"By class, {whole}", fontsize=8, loc="left", color=MUTED)
    axes[1, 2].legend(loc="upper center", bbox_to_anchor=(0.5, -0.3 / heights[1]), fontsize=8)
    notes = [
        "Marks: values with 95 % intervals, not corrected for their number. Dotted: guessing. "
        "In brackets: answers to “real or synthetic?”.",
        agreement_words(scores),
    ]
    figure.supxlabel("\n".join(filter(None, notes)), fontsize=7.5, color=MUTED, x=0.01, ha="left")
    if phantom:
        figure.suptitle("Phantom films, not patients", fontsize=9, color=WARM)
    save_figure(figure, path)


def draw(panel: plt.Axes, rows: pd.DataFrame, lines: list[str], measures: dict) -> None:
    """Draw one line per reader or class, its measures slightly apart."""
    for number, (measure, (label, colour)) in enumerate(measures.items()):
        here = rows[rows["measure"] == measure].set_index("line").reindex(lines)
        level = np.arange(len(lines)) + 0.26 * (number - (len(measures) - 1) / 2)
        panel.hlines(level, here["low"], here["high"], color=colour, linewidth=1.6)
        panel.plot(here["value"], level, "o", color=colour, markersize=5, label=label)
        for chance in here["chance"].dropna().unique():
            panel.axvline(chance, color=MUTED, linewidth=1, linestyle=":", zorder=0)
    if ALL_READERS in lines and len(lines) > 1:
        panel.axhline(lines.index(ALL_READERS) - 0.5, color=MUTED, linewidth=0.6)
    answers = rows[rows["measure"] == "accuracy"].set_index("line")["n"].reindex(lines).fillna(0)
    panel.set_yticks(
        range(len(lines)), [f"{line} ({count(n)})" for line, n in zip(lines, answers, strict=True)]
    )
    panel.set_ylim(len(lines) - 0.5, -0.5)
    panel.tick_params(axis="y", length=0)
    panel.spines["left"].set_visible(False)


def agreement_words(scores: pd.DataFrame) -> str:
    """Return how far readers agree, in a line; empty for one reader alone."""
    names = {"agreement_source": "real or synthetic", "agreement_finding": "class"}
    words = []
    for row in scores[scores["measure"].isin(names)].itertuples():
        interval = f" ({span(row.low, row.high, two)})" if known(row.low) else ""
        words.append(f"{names[row.measure]} {two(row.value)}{interval}")
    return f"Agreement between readers, Krippendorff’s α: {', '.join(words)}." if words else ""


def two(value: float) -> str:
    """Return a number with two decimals."""
    return fixed(value, 2)
