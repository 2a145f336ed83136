"""One table of all measures: whole, in order, each with its floor, its ceiling and its N."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import METRICS
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.evaluate.collect_metrics import collect_metrics
from workflow_scripts.evaluate.rows import EXACT, NONE, metrics_table, row
from workflow_scripts.metrics.estimates import Estimate


def rows(metric: str, extractor: str, *labels: str) -> pd.DataFrame:
    known = {"synthetic": Estimate(0.4, 0.3, 0.5), "floor": Estimate(0.1), "ceiling": Estimate(9.0)}
    return metrics_table(
        [
            row(metric, extractor, "ab" if extractor == "domain" else None, label, 20, 12, known, EXACT, "noise")
            for label in labels
        ],
        seed=4,
    )  # fmt: skip


def write(folder: Path, *tables: pd.DataFrame) -> list[Path]:
    paths = [folder / f"{number}.parquet" for number in range(len(tables))]
    for path, table in zip(paths, tables, strict=True):
        write_table(table, path, METRICS)
    return paths


def test_all_rows_in_the_order_of_the_parts(tmp_path):
    first = rows("kernel_distance", "domain", "pooled", "Effusion")
    last = rows("msssim_diversity", "pixels", "pooled")
    paths = write(tmp_path, first, metrics_table([], 4), last)
    collect_metrics(paths, tmp_path / "metrics.parquet")
    table = read_table(tmp_path / "metrics.parquet", METRICS)
    pd.testing.assert_frame_equal(table, pd.concat([first, last], ignore_index=True))
    collect_metrics(paths, tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "metrics.parquet").read_bytes()


def test_a_measure_taken_twice_is_refused(tmp_path):
    paths = write(
        tmp_path,
        rows("precision", "domain", "pooled", "Effusion"),
        rows("precision", "inception", "pooled"),
        rows("precision", "domain", "Effusion"),
    )
    with pytest.raises(ValueError, match="measured twice: precision, domain, Effusion"):
        collect_metrics(paths, tmp_path / "metrics.parquet")
    collect_metrics(paths[:2], tmp_path / "metrics.parquet")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("floor", np.nan),
        ("ceiling", np.nan),
        ("n", 0),
        ("n_reference", 0),
        ("value", np.nan),
        ("ceiling_of", "nothing"),
    ],
)
def test_a_value_without_its_floor_its_ceiling_or_its_n_is_none(tmp_path, column, value):
    table = rows("precision", "domain", "pooled", "Effusion")
    table.loc[1, column] = value
    table.to_parquet(tmp_path / "part.parquet", index=False)
    with pytest.raises(InputError, match=f"column {column}"):
        collect_metrics([tmp_path / "part.parquet"], tmp_path / "metrics.parquet")
    table.drop(columns=column).to_parquet(tmp_path / "part.parquet", index=False)
    with pytest.raises(InputError, match="does not fit its schema"):
        collect_metrics([tmp_path / "part.parquet"], tmp_path / "metrics.parquet")
    assert not (tmp_path / "metrics.parquet").exists()


def test_an_interval_that_could_not_be_had_is_none():
    table = metrics_table(
        [
            row("precision", "domain", None, "pooled", 5, 5, dict.fromkeys(("synthetic", "floor", "ceiling"), Estimate(0.5)), EXACT, "noise"),
        ],
        seed=4,
    )  # fmt: skip
    assert table["interval"].item() == NONE
    assert METRICS.validate(table)["low"].isna().all()
