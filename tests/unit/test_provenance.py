"""The record of a job says what made its outputs, and nothing of where or whose machine it was."""

import getpass
import hashlib
import json
import platform
import subprocess
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.common import provenance
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.fingerprint import modules
from workflow_scripts.common.runtime import step

RECORD = Path("provenance/parse_labels.json")


def sha256(path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def made(job, **given):
    """Run a step that writes each of its outputs, and return its record."""
    frame = job(**given)
    with step(frame):
        for path in frame.output:
            if path.endswith(".npy"):
                np.save(path, np.zeros((5, 2, 2), np.uint8))
            elif path.endswith(".parquet"):
                pd.DataFrame({"x": range(7)}).to_parquet(path)
            else:
                Path(path).write_text("a,b\n1,2\n3,4\n")
    return json.loads(RECORD.read_text())


def test_a_record_names_every_file_by_its_bytes_and_counts_its_rows(job, tmp_path):
    (tmp_path / "table.csv").write_text("x\n")
    (tmp_path / "more.csv").write_text("y\n")
    record = made(
        job,
        inputs={"tables": ["table.csv", "more.csv"]},
        outputs={"shard": "a.npy", "index": "a.parquet", "split": "a.csv", "page": "a.html"},
        wildcards={"archive": "a"},
    )
    assert [(f["name"], f["path"], f["sha256"]) for f in record["inputs"]] == [
        ("tables", name, sha256(name)) for name in ("table.csv", "more.csv")
    ]
    found = {f["name"]: (f["path"], f["bytes"], f["sha256"], f["rows"]) for f in record["outputs"]}
    rows = {
        "shard": ("a.npy", 5),
        "index": ("a.parquet", 7),
        "split": ("a.csv", 2),
        "page": ("a.html", None),
    }
    assert found == {
        name: (path, Path(path).stat().st_size, sha256(path), count)
        for name, (path, count) in rows.items()
    }
    assert (record["rule"], record["wildcards"]) == ("parse_labels", {"archive": "a"})


def test_a_record_holds_the_code_the_configuration_and_what_it_cost(job):
    record = made(job, outputs={"table": "a.csv"})
    assert record["config"] == {"seed": 3}
    assert record["code"]["fingerprint"] == "0123456789abcdef"
    assert record["code"]["modules"] == modules("curate/parse_labels")
    assert record["software"]["Python"] == platform.python_version()
    assert record["resources"]["device"] == "cpu"
    assert record["hardware"]["cores"] >= 1
    assert record["cpu_seconds"] >= 0
    assert 0 <= record["wall_seconds"] < 600
    assert record["peak_memory_mb"] > 10
    assert datetime.fromisoformat(record["started"]).tzinfo is not None
    assert record["cache"] is None


def test_code_that_was_edited_after_the_plan_runs_no_job(job, monkeypatch, capsys):
    planned = job(outputs={"table": "a.csv"})
    monkeypatch.setattr(provenance, "fingerprint", lambda step: f"{step} fedcba9876543210")
    with pytest.raises(SystemExit), step(planned):
        pytest.fail("computes")
    assert "curate/parse_labels was edited after Snakemake had planned" in capsys.readouterr().err
    assert not RECORD.exists()


def test_code_that_is_not_in_the_commit_makes_it_another(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        subprocess.run(command, check=True, capture_output=True)

    git("init")
    (tmp_path / "workflow_scripts").mkdir()
    (tmp_path / "workflow_scripts" / "a.py").write_text("A = 1\n")
    git("add", ".")
    git("commit", "-m", "a")
    clean = provenance.commit(tmp_path)
    assert clean and not clean.endswith("+")
    (tmp_path / "notes.txt").write_text("")
    assert provenance.commit(tmp_path) == clean
    (tmp_path / "workflow_scripts" / "b.py").write_text("B = 1\n")
    assert provenance.commit(tmp_path) == f"{clean}+"


def test_the_place_of_a_record_is_found_whatever_names_end_with_logs():
    log = "results/d/logs/extract_features/64/domain/catalogs/s.log"
    record = Path("results/d/provenance/extract_features/64/domain/catalogs/s.json")
    assert provenance.beside_log(log) == record


def test_a_job_that_fails_leaves_no_record_not_even_the_one_before(job):
    made(job, outputs={"table": "a.csv"})
    assert RECORD.exists()
    with pytest.raises(SystemExit), step(job()):
        raise InputError("no")
    assert not RECORD.exists()


def test_no_folder_of_this_machine_stands_in_a_record(job, tmp_path, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("alice-secret") / "Data.csv"
    elsewhere.write_text("x\n")
    config = {
        "images": str(elsewhere.parent),
        "parts": ["~/films/a.png", "plain"],
        "n": {"x": "/a/b"},
    }
    record = made(
        job,
        inputs={"table": str(elsewhere), "own": str(Path(tmp_path, "own.csv"))}
        if Path(tmp_path, "own.csv").write_text("x\n")
        else {},
        outputs={"table": "a.csv"},
        params={"config": json.dumps(config)},
    )
    assert [file["path"] for file in record["inputs"]] == ["…/Data.csv", "own.csv"]
    assert record["config"]["parts"] == ["…/a.png", "plain"]
    text = RECORD.read_text()
    assert str(tmp_path) not in text
    assert str(elsewhere.parent.parent) not in text
    assert platform.node() not in text or len(platform.node()) < 4
    if getpass.getuser() != "root":
        assert getpass.getuser() not in text
