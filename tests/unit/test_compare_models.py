"""One table and one figure of all models and samplers: costs by hand, and what the figure shows."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.common.figures import plt
from workflow_scripts.common.schemas import COMPARISON, METRICS, TRAINING_LOG
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.evaluate.compare_models import compare_models, sampling_cost
from workflow_scripts.evaluate.comparison import COLOURS, best, draw

SAMPLER = {"method": "dpm++2m", "steps": 10, "guidance": 1.0, "autoguidance": None}
SAMPLERS = {
    "dpm5": SAMPLER | {"steps": 5},
    "dpm10": SAMPLER,
    "guided": SAMPLER | {"guidance": 2.0},
    "heun": SAMPLER | {"method": "heun"},
}
DIFFUSION = {
    "linear": {"process": "ddpm", "schedule": "linear", "prediction": "epsilon"},
    "sde": {"process": "vp_sde", "prediction": "v"},
    "edm": {"process": "edm", "p_mean": -1.2, "p_std": 1.2},
}
MACS = {"linear": 2_000_000, "sde": 2_000_000, "edm": 500_000}


def metric_table(value: float, extractors: list[str]) -> pd.DataFrame:
    """METRICS of one sampler, with rows of a class that are not to be taken."""
    rows = [
        {
            "metric": metric,
            "name": metric,
            "extractor": extractor,
            "weights_sha256": None,
            "class_name": label,
            "n": 24 if metric == "kernel_distance" else 60,
            "n_reference": 24,
            "value": score if label == "pooled" else 0.99,
            "low": 0.9 * score,
            "high": min(1.1 * score, 1.0),
            "interval": "95 %",
            "floor": 0.01,
            "train": 0.01,
            "ceiling": 0.5,
            "ceiling_of": "noise",
            "expected": np.nan,
            "expected_high": np.nan,
            "seed": 4,
        }
        for metric, extractor, score in [
            *(("kernel_distance", name, value * (1 + k)) for k, name in enumerate(extractors)),
            ("frechet_distance", "domain", 9.0),
            ("gaussian_kernel_distance", "domain", 7.0),
            ("class_accuracy", "domain", 0.8),
        ]
        for label in ("pooled", "Effusion")
    ]
    return pd.DataFrame(rows)


def compared(folder: Path, models: list[str], samplers: dict, extractors=("domain",)) -> Path:
    """Run the step on stand-ins and return its folder."""
    arguments: dict = {"facts": {}, "logs": {}, "metrics": {}}
    for number, model in enumerate(models):
        arguments["facts"][model] = folder / f"{model}.json"
        arguments["facts"][model].write_text(
            json.dumps({"diffusion": DIFFUSION[model], "macs": MACS[model]})
        )
        arguments["logs"][model] = folder / f"{model}.parquet"
        log = pd.DataFrame({"step": [50, 100], "images": [1600, 3200]})
        log[["loss", "validation_loss", "learning_rate", "gradient_norm"]] = 0.5
        write_table(log, arguments["logs"][model], TRAINING_LOG)
        for order, name in enumerate(samplers):
            path = folder / f"{model}-{name}.parquet"
            value = 0.1 * (number + 1) / (order + 1)
            write_table(metric_table(value, list(extractors)), path, METRICS)
            arguments["metrics"][model, name] = path
    table, figure = folder / "comparison.parquet", folder / "comparison.png"
    compare_models(**arguments, samplers=samplers, phantom=True, table=table, figure=figure)
    return folder


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> pd.DataFrame:
    folder = compared(tmp_path_factory.mktemp("all"), list(DIFFUSION), SAMPLERS, ("domain", "xrv"))
    return read_table(folder / "comparison.parquet", COMPARISON)


def test_a_row_of_every_model_and_sampler_with_its_costs(table):
    assert list(zip(table["model"], table["sampler"], strict=True)) == [
        (model, sampler) for model in DIFFUSION for sampler in SAMPLERS
    ]
    first = table.groupby("model", sort=False).first()
    assert first["process"].to_list() == ["ddpm", "vp_sde", "edm"]
    assert first["schedule"].to_list() == ["linear", "cosine", "log-normal"]
    assert first["prediction"].to_list() == ["epsilon", "v", "preconditioned"]
    assert set(table["training_steps"]) == {100}
    assert set(table["images_seen"]) == {3200}
    # 3 passes of 2 · 2e6 operations for each of 3,200 images.
    assert first.loc["linear", "training_tflop"] == pytest.approx(0.0384)
    assert first.loc["edm", "training_tflop"] == pytest.approx(0.0096)
    assert table["evaluations"].to_list() == [5, 10, 20, 19] * 3
    assert table["sampling_gflop"].iloc[:4].to_list() == pytest.approx([0.02, 0.04, 0.08, 0.076])


def test_quality_is_that_of_all_classes_in_every_feature_space(table):
    row = table.set_index(["model", "sampler"]).loc[("sde", "dpm10")]
    assert row["kernel_distance_domain"] == pytest.approx(0.1)
    assert row["kernel_distance_xrv"] == pytest.approx(0.2)
    assert row["kernel_distance_xrv_low"] == pytest.approx(0.18)
    assert row["kernel_distance_xrv_floor"] == 0.01
    assert (row["n"], row["class_accuracy_n"]) == (24, 60)
    assert row["class_accuracy"] == 0.8


@pytest.mark.parametrize(
    ("changes", "evaluations", "gflop"),
    [
        ({}, 10, 0.04),
        ({"method": "unipc"}, 10, 0.04),
        ({"method": "ddpm", "steps": 1000}, 1000, 4.0),
        ({"method": "edm"}, 19, 0.076),
        ({"guidance": 1.5}, 20, 0.08),
        ({"guidance": 0.0}, 20, 0.08),
        ({"method": "heun", "guidance": 2.0}, 38, 0.152),
        ({"guidance": 2.0, "autoguidance": "early"}, 20, 0.08),
        ({"guidance": 2.0, "autoguidance": "edm"}, 20, 0.05),
        ({"guidance": 1.0, "autoguidance": "edm"}, 10, 0.04),
    ],
)
def test_what_an_image_costs(changes, evaluations, gflop):
    facts = {name: {"macs": macs} for name, macs in MACS.items()}
    cost = sampling_cost(SAMPLER | changes, facts, "linear")
    assert cost["evaluations"] == evaluations
    assert cost["sampling_gflop"] == pytest.approx(gflop)


def test_the_figure_marks_every_value_and_the_floor(table):
    figure = draw(table, phantom=True)
    panels = np.array(figure.axes).reshape(2, 2)
    for row, space in zip(panels, ("domain", "xrv"), strict=True):
        for panel, rows in zip(row, (table, best(table, f"kernel_distance_{space}")), strict=True):
            marks = [line for line in panel.lines if line.get_marker() not in ("None", "", None)]
            drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in marks])
            np.testing.assert_allclose(np.sort(drawn), np.sort(rows[f"kernel_distance_{space}"]))
            floors = [line.get_ydata()[0] for line in panel.lines if line.get_linestyle() == "--"]
            assert floors == [0.01]
            low, high = panel.get_ylim()
            assert low <= 0 < rows[f"kernel_distance_{space}_high"].max() < high
            places = np.concatenate([np.asarray(line.get_xdata(), float) for line in marks])
            left, right = panel.get_xlim()
            assert left < places.min() and places.max() < right
    # No two models at one place, though sampled alike.
    places = [tuple(line.get_xdata()) for line in panels[0, 0].lines if len(line.get_xdata()) == 3]
    assert len(set(places)) == len(DIFFUSION)
    assert "Phantom films, not patients" in [text.get_text() for text in figure.texts]
    said = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert {*DIFFUSION, "dpm++2m", "heun", "what real images reach"} == set(said)
    plt.close(figure)


def test_the_best_sampler_is_the_nearest_or_the_most_recognised(table):
    assert best(table, "kernel_distance_domain")["sampler"].to_list() == ["heun"] * 3
    table = table.assign(class_accuracy=[0.1, 0.9, 0.2, 0.3] * 3)
    assert best(table, "class_accuracy")["sampler"].to_list() == ["dpm10"] * 3


def test_more_models_than_colours_values_below_0_and_far_apart(table):
    many = pd.concat(
        [table.assign(model=table["model"] + str(number)) for number in range(4)], ignore_index=True
    )
    assert many["model"].nunique() > len(COLOURS)
    spread = np.geomspace(1e-3, 10, len(many))
    for end, factor in (("", 1), ("_low", -0.5), ("_high", 2)):
        many[f"kernel_distance_domain{end}"] = factor * spread
    figure = draw(many)
    low, high = figure.axes[0].get_ylim()
    assert low < -5 and high > 20
    assert figure.axes[0].get_yscale() == "symlog"
    plt.close(figure)


@pytest.mark.parametrize("extractors", [("domain",), ()])
def test_one_model_and_one_sampler_are_compared_with_the_floor(tmp_path, extractors):
    folder = compared(tmp_path, ["linear"], {"dpm5": SAMPLERS["dpm5"]}, extractors)
    table = read_table(folder / "comparison.parquet", COMPARISON)
    assert len(table) == 1
    assert ("kernel_distance_domain" in table) == bool(extractors)
    assert plt.imread(folder / "comparison.png").std() > 0


def test_the_same_bytes_twice(tmp_path):
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        compared(folder, ["linear", "edm"], SAMPLERS)
    for name in ("comparison.parquet", "comparison.png"):
        assert len({(folder / name).read_bytes() for folder in folders}) == 1
