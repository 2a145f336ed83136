"""A finished run as a Workflow Run RO-Crate: whole, sound, and enough to run it again."""

import json
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
import yaml

from workflow_scripts.common.files import sha256_of
from workflow_scripts.trail.records import read_records

METADATA = "ro-crate-metadata.json"
# Written while the metadata is, or after it.
OWN = {METADATA, "provenance/crate.json"}
# What the profiles recommend and a crate does not have: who ran it (no name of a person is recorded),
# where the code is on the web (it is in the crate), and what an archive asks of those who hand it in.
NOT_MET = {
    "The Action SHOULD have an agent that is a Person or Organization",
    "The Application SHOULD have a url",
    "The SoftwareApplication id SHOULD be an absolute URI",
    "The organization SHOULD have a URL.",
    "The Root Data Entity SHOULD have a link to a Contextual Entity representing the `author` of the RO-Crate",
    "The `publisher` property of a `Root Data Entity` SHOULD be an `Organization`",
    "The Main Workflow SHOULD comply with Bioschemas ComputationalWorkflow profile version 1.0 or later",
}


@pytest.fixture(scope="module")
def crate(snakemake, phantom_config, phantom_run, tmp_path_factory) -> Path:
    """The data folder of a finished run, made a crate."""
    folder = tmp_path_factory.mktemp("crate") / "run"
    shutil.copytree(phantom_run, folder, symlinks=True)
    snakemake(folder, "crate", "--configfile", phantom_config)
    return folder / "results" / "phantom"


@pytest.fixture(scope="module")
def graph(crate: Path) -> dict[str, dict]:
    """Its entities by their ids."""
    return {
        entity["@id"]: entity for entity in json.loads((crate / METADATA).read_text())["@graph"]
    }


def ids(value) -> list[str]:
    """Return the ids in a property that holds one entity, many or none."""
    return [one["@id"] for one in (value if isinstance(value, list) else [value])] if value else []


def of_type(graph: dict, kind: str) -> list[dict]:
    """Return the entities of a type."""
    return [e for e in graph.values() if kind in (e["@type"], *e["@type"])]


def test_the_public_validator_finds_it_sound_and_a_broken_one_not(crate, root, tmp_path):
    python = root / ".venv" / "validator" / "bin" / "python"
    if not python.exists():
        pytest.skip("no validator: `make test` installs it from envs/validator.lock")
    broken = tmp_path / "broken"
    shutil.copytree(crate, broken)
    metadata = json.loads((broken / METADATA).read_text())
    (top,) = (entity for entity in metadata["@graph"] if entity["@id"] == "./")
    del top["mainEntity"]
    (broken / METADATA).write_text(json.dumps(metadata))
    done = subprocess.run(
        [python, root / "tests" / "validate_crate.py", tmp_path / "cache", crate, broken],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": ""},
    )
    assert done.returncode == 0, done.stderr
    sound, unsound = json.loads(done.stdout)
    assert [finding for finding in sound if finding["severity"] == "REQUIRED"] == []
    assert {finding["message"] for finding in sound} == NOT_MET
    missed = [finding["message"] for finding in unsound if finding["severity"] == "REQUIRED"]
    assert any("Main Workflow" in message for message in missed), missed


def test_every_file_is_described_is_there_and_hashes_as_said(crate, graph):
    described = {unquote(entity["@id"]): entity for entity in of_type(graph, "File")}
    there = {str(path.relative_to(crate)) for path in crate.rglob("*") if path.is_file()}
    # Logs may name folders of the machine.
    assert {name for name in there - set(described) if not name.startswith("logs/")} == OWN
    assert set(described) <= there
    for path, entity in described.items():
        assert int(entity["contentSize"]) == (crate / path).stat().st_size, path
        assert entity["sha256"] == sha256_of(crate / path), path
        if not path.startswith("workflow/"):
            assert entity.get("description"), path
    assert "; 180 rows" in described["labels.parquet"]["description"]


def test_every_job_is_an_action_on_the_files_of_its_record(crate, graph):
    data = crate.relative_to(crate.parents[1])
    records = read_records(crate)
    jobs = {record.path: record for record in records if record.rule != "crate"}
    actions = of_type(graph, "CreateAction")
    assert len(actions) == len(jobs) + 1  # and the whole run
    for path, record in jobs.items():
        name = Path(path).relative_to(crate / "provenance").with_suffix("")
        action = graph["#" + quote(str(name))]
        assert graph[action["instrument"]["@id"]]["@id"].endswith(f"/{record.rule}.py")
        for side, files in (("object", record.inputs), ("result", record.outputs)):
            found = [str(data / unquote(one)) for one in ids(action.get(side))]
            assert sorted(found) == sorted({file.path for file in files})
        assert action["startTime"] <= action["endTime"]
        about = [key for key, one in graph.items() if ids(one.get("about")) == [action["@id"]]]
        beside = {f"benchmarks/{name}.tsv", f"provenance/{name}.json"}
        assert set(map(unquote, about)) == beside
    asked_for = {"report/index.html", "evaluate/comparison.parquet", "export/small/README.md"}
    assert asked_for <= set(ids(graph["#run"]["result"]))


def test_the_configuration_is_in_it_whole_and_value_by_value(crate, graph):
    config = yaml.safe_load((crate / "workflow" / "config.yaml").read_text())
    values = {
        e["name"]: e["value"] for e in of_type(graph, "PropertyValue") if "exampleOfWork" in e
    }
    assert values["models.small.training.steps"] == 20
    assert json.loads(values["cohort.classes"]) == config["cohort"]["classes"]
    assert values["split.seed"] == config["split"]["seed"]
    assert set(map(unquote, ids(graph["workflow/Snakefile"]["input"]))) == {
        f"#parameter/{name}" for name in values
    }


def test_it_names_no_folder_and_no_machine(crate, root):
    here = [str(crate.parents[1]), f"{root}/", f"{Path.home()}/"]
    for path in crate.rglob("*"):
        if path.suffix in (".json", ".yaml", ".log", ".md", ".html", ".tsv", ".csv", ".smk", ".py"):
            text = path.read_text()
            assert [name for name in here if name in text] == [], path
    assert not re.search(rf"\b{re.escape(platform.node())}\b", (crate / METADATA).read_text())


def test_the_crate_alone_runs_again_and_makes_the_same_bytes(crate, graph, snakemake, tmp_path):
    shutil.copytree(crate, tmp_path / "unpacked")
    folder = tmp_path / "again"
    tables = ["labels.parquet", "cohort.parquet"]
    wanted = [f"results/phantom/{name}" for name in tables]
    snakemake(folder, *wanted, source=tmp_path / "unpacked" / "workflow")
    for name, path in zip(tables, wanted, strict=True):
        assert sha256_of(folder / path) == graph[name]["sha256"]


def test_the_report_says_what_each_step_cost(phantom_run):
    data = phantom_run / "results" / "phantom"
    page = (data / "report" / "index.html").read_text()
    section = page.split('<section id="cost">')[1].split("</section>")[0]
    rows = re.findall(r'<th scope="row">(\w+)</th><td class="number">([\d,]+)</td>', section)
    jobs: dict[str, int] = {}
    for record in read_records(data):
        jobs[record.rule] = jobs.get(record.rule, 0) + 1
    beside = {"render_report", "compare_models", "export_model", "make_reader_study"}
    assert dict(rows) == {rule: str(n) for rule, n in jobs.items() if rule not in beside}
