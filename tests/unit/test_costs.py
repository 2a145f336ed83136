"""What the report says of the cost of each step is what the records of its jobs say."""

import json
from pathlib import Path

import pytest

from workflow_scripts.report.costs import costs, duration, memory

FILE = {"name": None, "bytes": 0, "sha256": ""}


def record(folder: Path, rule: str, job: str, inputs: list[str], outputs: dict, **facts) -> None:
    """Write the record of a job; `outputs` are the rows of each file."""
    path = folder / "provenance" / rule / f"{job}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {
        "rule": rule,
        "wildcards": {},
        "step": "",
        "config": {},
        "code": {},
        "software": {},
        "hardware": {"gpus": ["a GPU"]},
        "resources": {"threads": 1, "gpu": 0},
        "started": "2026-01-02T00:00:00+00:00",
        "wall_seconds": 1.0,
        "cpu_seconds": 2.0,
        "peak_memory_mb": 100.0,
        "cache": None,
        "inputs": [FILE | {"path": path} for path in inputs],
        "outputs": [FILE | {"path": path, "rows": rows} for path, rows in outputs.items()],
    }
    path.write_text(json.dumps(found | facts))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two jobs that train, one that drew what they read, one of another configuration."""
    early = "2026-01-01T23:00:00+00:00"
    record(tmp_path, "draw", "x", [], {"films": 40, "table": 30}, started=early, wall_seconds=90.0)
    trained = {"wall_seconds": 3600.0, "resources": {"gpu": 2, "device": "auto"}}
    record(tmp_path, "train", "a", ["films"], {"a": None}, peak_memory_mb=5120.0, **trained)
    record(tmp_path, "train", "b", ["films"], {"b": None}, cache={"key": "1"}, **trained)
    record(tmp_path, "train", "other", ["films"], {"other": None}, **trained)
    return tmp_path


def test_costs_are_summed_over_the_jobs_behind_the_page_in_the_order_of_their_start(data):
    found = costs(data, ["a", "b", "given from outside"])
    draw, train = found["rows"]
    assert (draw["rule"], draw["jobs"], draw["wall"], draw["rows"]) == (
        "draw",
        "1",
        "1.5 min",
        "40",
    )
    assert (train["rule"], train["jobs"], train["wall"]) == ("train", "2", "2.0 h")
    assert (train["longest"], train["cpu"], train["memory"]) == ("1.0 h", "4.0 s", "5.0 GB")
    assert (train["cached"], train["rows"]) == (1, "–")
    assert found["total"]["jobs"] == "3" and found["total"]["cpu"] == "6.0 s"
    assert (str(found["began"]), found["most"]["rule"], found["jobs"]) == (
        "2026-01-01",
        "train",
        "3 jobs",
    )


def test_gpus_count_where_there_are_some_and_the_job_worked(data):
    found = costs(data, ["a", "b"])
    assert (
        found["gpu"] and found["rows"][1]["gpu"] == "2.0 h"
    )  # two for an hour; b came from the cache
    assert found["rows"][0]["gpu"] == "–"
    for without in ({"hardware": {"gpus": []}}, {"resources": {"gpu": 2, "device": "cpu"}}):
        record(data, "train", "a", ["films"], {"a": None}, **without)
        assert not costs(data, ["a", "b"])["gpu"]


def test_a_run_without_records_has_no_costs(data):
    assert costs(data / "elsewhere", ["a"]) is None
    assert costs(data, ["unknown"]) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "–"),
        (0.04, "< 0.1 s"),
        (9.96, "10 s"),
        (59, "59 s"),
        (61, "1.0 min"),
        (7200, "2.0 h"),
        (2e6, "23 d"),
    ],
)
def test_times_are_said_in_the_unit_that_fits(seconds, text):
    assert duration(seconds) == text


def test_memory_is_said_in_the_unit_that_fits():
    assert [memory(value) for value in (83.4, 999, 1024, 20480)] == [
        "83 MB",
        "999 MB",
        "1.0 GB",
        "20 GB",
    ]
