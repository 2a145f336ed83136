"""A crate of a run that is not whole, or not of this code, is refused; what goes into one is known."""

import json
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
from snakemake.iocontainers import InputFiles, OutputFiles

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import sha256_of
from workflow_scripts.common.fingerprint import fingerprint
from workflow_scripts.common.provenance import CRATE, Record
from workflow_scripts.crate import crate as packing
from workflow_scripts.crate.contents import Map
from workflow_scripts.crate.run import run_behind

DATA = "results/set"
STEP = "curate/filter_cohort"


def described(path: str, name: str | None = None) -> dict:
    here = Path(path)
    return {"name": name, "path": path, "bytes": here.stat().st_size, "sha256": sha256_of(here)}


def record(rule: str, inputs: list[dict], outputs: list[str], started: str, **facts) -> Path:
    """Write the record of a job, its log and what it made; return the record's path."""
    for path in outputs:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        if not Path(path).exists():
            Path(path).write_text(path)
    found = {
        "rule": rule,
        "wildcards": {},
        "step": STEP,
        "config": {},
        "code": {"fingerprint": fingerprint(STEP).split()[1]},
        "software": {"snakemake": "9.27.1"},
        "hardware": {"cpu": "a processor", "gpus": []},
        "resources": {"threads": 1},
        "started": f"2026-01-01T00:00:{started}+00:00",
        "wall_seconds": 1.5,
        "cpu_seconds": 1.0,
        "peak_memory_mb": 100.0,
        "cache": None,
        "inputs": inputs,
        "outputs": [described(path) | {"rows": None} for path in outputs],
    } | facts
    path = Path(DATA, "provenance", f"{rule}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))
    return path


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Three jobs, one after the other, and one of another configuration; their records."""
    monkeypatch.chdir(tmp_path)
    Path("given.csv").write_text("given")
    labels, cohort, page = (f"{DATA}/{name}" for name in ("l.csv", "größe 1/c.csv", "report/page"))
    return {
        "first": record("first", [described("given.csv")], [labels], "01"),
        "second": record("second", [described(labels)], [cohort], "02"),
        "third": record("third", [described(labels), described(cohort)], [page], "03"),
        "other": record("other", [described(labels)], [f"{DATA}/other.csv"], "04"),
    }


def test_a_run_is_the_jobs_behind_what_was_asked_for_and_no_other(run):
    found = run_behind([f"{DATA}/report/page"], DATA)
    assert [job.rule for job in found.jobs] == ["first", "second", "third"]
    assert set(found.made) == {f"{DATA}/l.csv", f"{DATA}/größe 1/c.csv", f"{DATA}/report/page"}
    assert [file.path for file in found.given] == ["given.csv"]


def lose_a_record(run):
    run["second"].unlink()


def lose_a_file(run):
    Path(DATA, "l.csv").unlink()


def change_a_byte(run):
    Path(DATA, "größe 1/c.csv").write_text("other")


def make_one_file_anew(run):
    Path(DATA, "l.csv").write_text("new")
    record("first", [described("given.csv")], [f"{DATA}/l.csv"], "05")


def run_other_code(run):
    facts = json.loads(run["third"].read_text())
    facts["code"]["fingerprint"] = "0123456789abcdef"
    run["third"].write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("plant", "message"),
    [
        (lose_a_record, "größe 1/c.csv has no provenance record"),
        (lose_a_file, "l.csv is gone"),
        (change_a_byte, "größe 1/c.csv holds other bytes than its record says"),
        (make_one_file_anew, "l.csv was made anew, but not what was made from it"),
        (run_other_code, "third.json: the job ran other code than is here now"),
    ],
)
def test_a_run_that_is_not_whole_or_stale_is_refused_and_nothing_written(run, plant, message):
    plant(run)
    with pytest.raises(InputError) as refusal:
        packing.crate(DATA, [f"{DATA}/report/page"], {})
    assert str(refusal.value).count("\n  ") == 1
    assert f"\n  {DATA}/" in str(refusal.value) and message in str(refusal.value)
    assert not Path(DATA, CRATE).exists() and not Path(DATA, "workflow").exists()


CONFIG = {
    "dataset": {"name": "set", "kind": "folder", "folder": {"images": "/home/somebody/films"}},
    "models": {},
    "samplers": {},
    "studies": {},
}


@pytest.fixture
def graph(run, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict]:
    """The entities of the crate of the run, whose data are not ours to license."""
    monkeypatch.setattr(packing, "references", lambda config: ["A work. 2020."])
    monkeypatch.setattr("workflow_scripts.crate.metadata.script", lambda job: SCRIPT)
    packing.crate(DATA, [f"{DATA}/report/page"], CONFIG)
    text = Path(DATA, CRATE).read_text()
    assert "/home/somebody" not in text + Path(DATA, "workflow/config.yaml").read_text()
    return {entity["@id"]: entity for entity in json.loads(text)["@graph"]}


SCRIPT = f"workflow/workflow_scripts/{STEP}.py"


def test_every_reference_in_the_metadata_leads_to_an_entity(graph):
    by_the_library = {"ComputerLanguage", "CreativeWork"}
    for entity in graph.values():
        for value in () if str(entity["@type"]) in by_the_library else entity.values():
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, dict):
                    assert one["@id"] in graph, (entity["@id"], one)


def test_any_file_name_becomes_an_address(graph):
    names = {unquote(key): key for key in graph}
    assert names["größe 1/c.csv"].isascii() and " " not in names["größe 1/c.csv"]


def test_what_was_given_from_outside_is_named_with_its_hash_but_not_held(graph):
    (given,) = (entity for key, entity in graph.items() if key.startswith("#given/"))
    assert (given["name"], given["sha256"]) == ("given.csv", sha256_of("given.csv"))
    assert given["@type"] == "CreativeWork"
    assert {"@id": given["@id"]} in graph["#run"]["object"]


def test_the_crate_says_what_it_leaves_out_and_under_what_terms_it_stands(graph):
    assert "holds 2 files more" in graph["./"]["description"]  # other.csv and its record
    assert "settle those" in graph[graph["./"]["license"]["@id"]]["description"]
    assert "other.csv" not in graph


def test_a_job_that_makes_a_file_of_the_folder_anew_removes_the_metadata(graph):
    job = SimpleNamespace(
        log=[f"{DATA}/logs/first.log"],
        params={},
        wildcards={},
        input=InputFiles([]),
        output=OutputFiles([]),
    )
    Record(job)
    assert Path(DATA, CRATE).exists()  # an audit makes nothing
    job.output = OutputFiles([f"{DATA}/l.csv"])
    Record(job)
    assert not Path(DATA, CRATE).exists()


def test_a_crate_made_by_the_workflow_in_it_keeps_its_code(run, graph, monkeypatch):
    before = sorted(map(str, Path(DATA, "workflow").rglob("*")))
    monkeypatch.setattr(packing, "ROOT", Path(DATA, "workflow").resolve())
    assert packing.copy_code(Path(DATA))
    assert sorted(map(str, Path(DATA, "workflow").rglob("*"))) == before


@pytest.mark.parametrize(
    ("path", "start"),
    [
        ("labels.parquet", "LABELS"),
        ("splits/val.csv", "SPLIT"),
        ("models/a b/ema/long.safetensors", "averages of the weights"),
        ("models/m/seen.parquet", "SEEN"),
        ("models/m/unet/config.json", "config.json and"),
        ("export/m/scheduler/scheduler_config.json", "with the card"),
        ("features/64/domain/m/s.classes.npy", "float32 (images, K)"),
        ("evaluate/m/s/parts/copies.parquet", "METRICS: the search for copies"),
        ("evaluate/m/s/copies.parquet", "COPIES"),
        ("study/s/arms/real+0.2.json", "synthetic images by class"),
        ("logs/train_diffusion/small.log", "what a step said"),
        ("notes of mine.txt", None),
    ],
)
def test_the_map_says_what_a_file_is(root: Path, path: str, start: str | None):
    found = Map((root / "results" / "README.md").read_text()).description(path)
    assert found is None if start is None else found.startswith(start)
