"""What a finished study of the target `denoising` found, in Markdown.

    python benchmarks/denoising.py --run . --configfile config.yaml

Names of figures are those that `--figures` copies beside the page.
"""

import argparse
import json
import shutil
from pathlib import Path

import pandas as pd
import yaml
from common import command, hardware, table, versions

from workflow_scripts.common.configuration import load
from workflow_scripts.common.schemas import (
    NLM_TUNING,
    RESTORATION_SUMMARY,
    SWEEP,
    UNCERTAINTY,
)
from workflow_scripts.common.tables import read_table

DIGITS = {"psnr": 2, "ssim": 3, "mae": 4, "lpips": 3, "inconsistency": 5}
HEADERS = {
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "mae": "mean absolute error",
    "lpips": "LPIPS",
    "inconsistency": "inconsistency",
}
FIGURES = ("methods", "steps", "uncertainty", "examples")


def span(row: pd.Series, of: str = "value", digits: int = 2, sign: str = "") -> str:
    """Return a value with its interval."""
    names = (of, "low", "high") if of == "value" else (of, f"{of}_low", f"{of}_high")
    value, low, high = (f"{row[name]:{sign}.{digits}f}" for name in names)
    return f"{value} ({low} to {high})"


def named(method: str, samples: int, drawing: set[str]) -> str:
    """Return a method's name, and of one that draws answers how many were averaged."""
    if method not in drawing:
        return method
    return f"{method}, one answer" if samples == 1 else f"{method}, mean of {samples}"


def by_method(summary: pd.DataFrame, metric: str, difference: bool) -> str:
    """Return a table: a metric, or its difference to the reference, by method and noise level."""
    rows = summary[summary["metric"] == metric]
    conditions = list(rows["condition"].unique())
    drawing = set(rows.loc[rows["samples"] > 1, "method"])
    lines = []
    for (method, samples), part in rows.groupby(["method", "samples"], sort=False):
        own = part.set_index("condition")
        if difference and own["difference"].isna().all():
            continue
        of, sign = ("difference", "+") if difference else ("value", "")
        cells = [span(own.loc[name], of, DIGITS[metric], sign) for name in conditions]
        lines.append([named(method, samples, drawing), *cells])
    return table([HEADERS[metric], *conditions], lines)


def by_steps(sweep: pd.DataFrame, condition: str) -> str:
    """Return a table: PSNR by sampler and steps at one noise level."""
    rows = sweep[(sweep["metric"] == "psnr") & (sweep["condition"] == condition)]
    steps = sorted(rows["steps"].unique())
    lines = []
    for (sampler, samples), part in rows.groupby(["sampler", "samples"], sort=False):
        own = part.set_index("steps")
        what = "one answer" if samples == 1 else f"mean of {samples}"
        lines.append([f"{sampler}, {what}", *(span(own.loc[count]) for count in steps)])
    return table([condition, *(f"{count} steps" for count in steps)], lines)


def by_spread(uncertainty: pd.DataFrame) -> str:
    """Return a table: error over spread, and how often the widest interval holds the truth."""
    ratio = uncertainty[uncertainty["measure"] == "error_over_spread"]
    covered = uncertainty[uncertainty["measure"] == "coverage"]
    widest = covered.loc[covered.groupby(["method", "condition"])["expected"].idxmax()]
    widest = widest.set_index(["method", "condition"])
    lines = []
    for _, row in ratio.iterrows():
        inside = widest.loc[row["method"], row["condition"]]
        lines.append(
            [
                row["method"],
                row["condition"],
                span(row),
                row["verdict"],
                f"{100 * inside['value']:.0f} % (expected {100 * inside['expected']:.0f})",
            ]
        )
    return table(["method", "noise", "error over spread", "spread", "truth inside"], lines)


def costs(data: Path, name: str, folder: Path) -> str:
    """Return a table: of each learned method its parameters, steps, and minutes."""
    lines = []
    for path in sorted((folder / "models").glob("*/model.json")):
        method, facts = path.parent.name, json.loads(path.read_text(encoding="utf-8"))
        log = pd.read_parquet(path.with_name("training_log.parquet")).iloc[-1]
        minutes = [
            pd.read_csv(data / "benchmarks" / rule / name / f"{method}.tsv", sep="\t")["s"].iloc[0]
            / 60
            for rule in ("train_denoiser", "denoise")
        ]
        lines.append(
            [
                method,
                f"{facts['parameters']:,}",
                f"{log['step']:,.0f} steps, {log['images']:,.0f} patches",
                *(f"{found:.1f}" for found in minutes),
            ]
        )
    return table(["method", "parameters", "trained on", "minutes", "minutes of denoising"], lines)


def report(data: Path, name: str, settings: dict) -> str:
    """Return the section of one study."""
    folder = data / "denoising" / name
    summary = read_table(folder / "summary.parquet", RESTORATION_SUMMARY)
    sweep = read_table(folder / "sweep.parquet", SWEEP)
    uncertainty = read_table(folder / "uncertainty.parquet", UNCERTAINTY)
    counts = json.loads((folder / "patches.json").read_text(encoding="utf-8"))
    first = summary.iloc[0]
    splits = ", ".join(
        f"{split} {row['patches']:,} of {row['images']:,} images of {row['patients']:,} patients"
        for split, row in counts["splits"].items()
    )
    tuned = pd.concat(
        [read_table(path, NLM_TUNING) for path in sorted((folder / "nlm").glob("*.parquet"))]
    )
    strengths = ", ".join(
        f"{row.condition}: h = {row.strength:g} σ" for row in tuned[tuned["chosen"]].itertuples()
    )
    middle = list(summary["condition"].unique())[(summary["condition"].nunique() - 1) // 2]
    parts = [
        f"Patches of {settings['patches']['size']}² pixels: {splits}; {counts['dropped_as_background']:,} "
        f"dropped as background. Judged on {first['n_images']} test patches of {first['n_patients']} "
        f"patients; intervals are 95 %, {settings['bootstrap']:,} resamples of patients. Non-local "
        f"means, tuned on validation patches: {strengths}.",
        by_method(summary, "psnr", difference=False),
        f"Difference to {settings['reference']}, patch by patch:",
        by_method(summary, "psnr", difference=True),
        by_method(summary, "ssim", difference=False),
        by_method(summary, "mae", difference=False),
        f"{settings['sweep']['method']} by the number of steps, on {settings['sweep']['images']} patches:",
        by_steps(sweep, middle),
        "Whether drawn answers scatter as the truth does about them:",
        by_spread(uncertainty),
        "What it took:",
        costs(data, name, folder),
    ]
    return "\n\n".join(parts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, default=Path(), help="folder that the study ran in")
    parser.add_argument("--configfile", type=Path, default=Path("config.yaml"))
    parser.add_argument("--figures", type=Path, help="folder that its figures are copied to")
    arguments = parser.parse_args()
    config = load(yaml.safe_load(arguments.configfile.read_text(encoding="utf-8")))
    data = arguments.run / "results" / config["dataset"]["name"]
    print(
        f"`{command()}`\n\n{hardware('cpu')}. {versions('torch', 'diffusers', 'scikit-image')}.\n"
    )
    for name, settings in config["denoising"].items():
        print(f"## {name}\n\n{report(data, name, settings)}\n")
        for figure in FIGURES if arguments.figures else ():
            source = data / "denoising" / name / f"{figure}.png"
            shutil.copy(source, arguments.figures / f"denoising_{figure}.png")
