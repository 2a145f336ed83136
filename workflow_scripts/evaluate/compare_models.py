"""Set all models and samplers side by side: what quality costs, in training and in sampling."""

import json
from pathlib import Path

import pandas as pd

from workflow_scripts.common.figures import save_figure
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import COMPARISON, METRICS, POOLED, TRAINING_LOG
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.evaluate import comparison

TWO_STAGE = ("heun", "edm")  # a second evaluation in every step but the last


def compare_models(
    facts: dict[str, Path],
    logs: dict[str, Path],
    metrics: dict[tuple[str, str], Path],
    samplers: dict[str, dict],
    phantom: bool,
    table: Path,
    figure: Path,
) -> None:
    """Write one row per model and sampler, and the figure that answers which to take.

    Parameters
    ----------
    facts, logs : by model, model.json and TRAINING_LOG
    metrics : by model and sampler, METRICS
    samplers : configuration sections
    phantom : whether the films are drawn ones, which the figure then says
    table, figure : outputs, COMPARISON and a PNG
    """
    known = {model: json.loads(path.read_text(encoding="utf-8")) for model, path in facts.items()}
    last = {model: read_table(path, TRAINING_LOG).iloc[-1] for model, path in logs.items()}
    rows = [
        {"model": model, "sampler": name}
        | training_cost(known[model], last[model])
        | sampling_cost(samplers[name], known, model)
        | quality(read_table(path, METRICS))
        for (model, name), path in metrics.items()
    ]
    compared = pd.DataFrame(rows)
    write_table(compared, table, COMPARISON)
    save_figure(comparison.draw(compared, phantom), figure)


def training_cost(facts: dict, last: pd.Series) -> dict:
    """Return what a model is, how long it was trained and what that took.

    A training step costs three forward passes: going back costs two (Kaplan et al. 2020, table 1),
    and a multiply-add is two operations.

    Parameters
    ----------
    facts : contents of model.json
    last : last row of the training log
    """
    settings = facts["diffusion"]
    implied = {"ddpm": None, "vp_sde": "cosine", "edm": "log-normal"}
    return {
        "process": settings["process"],
        "schedule": settings.get("schedule", implied[settings["process"]]),
        "prediction": settings.get("prediction", "preconditioned"),
        "training_steps": int(last["step"]),
        "images_seen": int(last["images"]),
        "training_tflop": 3 * 2 * facts["macs"] * float(last["images"]) / 1e12,
    }


def sampling_cost(sampler: dict, facts: dict[str, dict], model: str) -> dict:
    """Return how often a network is evaluated for one image, and what that takes.

    Guidance doubles the evaluations. A guidance interval is not credited: with one, both numbers
    are upper bounds. Where another model guides, its evaluations cost what it costs.
    """
    steps = sampler["steps"]
    calls = 2 * steps - 1 if sampler["method"] in TWO_STAGE else steps
    networks = [model]
    if sampler["guidance"] != 1:
        other = sampler["autoguidance"]
        networks.append(model if other in (None, "early") else other)
    return {
        "method": sampler["method"],
        "steps": steps,
        "guidance": float(sampler["guidance"]),
        "evaluations": calls * len(networks),
        "sampling_gflop": sum(2 * calls * facts[name]["macs"] for name in networks) / 1e9,
    }


def quality(metrics: pd.DataFrame) -> dict:
    """Return the pooled kernel distance in every feature space, and class accuracy."""
    pooled = metrics[metrics["class_name"] == POOLED].set_index(["metric", "extractor"])
    accuracy = pooled.loc[("class_accuracy", "domain")]
    columns = {"n": 0, "class_accuracy_n": int(accuracy["n"])}
    columns |= estimate("class_accuracy", accuracy)
    for (metric, extractor), row in pooled.iterrows():
        if metric == "kernel_distance":
            columns["n"] = int(row["n"])
            columns |= estimate(f"kernel_distance_{extractor}", row)
    return columns


def estimate(name: str, row: pd.Series) -> dict[str, float]:
    """Return a value, the ends of its interval and its floor under columns of one stem."""
    names = {"value": name} | {end: f"{name}_{end}" for end in ("low", "high", "floor")}
    return {column: float(row[key]) for key, column in names.items()}


if __name__ == "__main__":
    with step(snakemake) as config:
        models, samplers = config["models"], dict(config["samplers"])
        paths = snakemake.input
        # …/<model>/<sampler>/metrics.parquet
        metrics = {Path(path).parts[-3:-1]: Path(path) for path in paths.metrics}
        compare_models(
            facts=dict(zip(models, map(Path, paths.facts), strict=True)),
            logs=dict(zip(models, map(Path, paths.logs), strict=True)),
            metrics=metrics,
            samplers=samplers,
            phantom=config["phantom"],
            table=Path(snakemake.output.table),
            figure=Path(snakemake.output.figure),
        )
