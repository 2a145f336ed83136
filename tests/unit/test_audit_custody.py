"""Custody on a small folder: what is read from outside, what is stale, and what the page says of it."""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.volumes import write_brains, write_digits, write_patches
from workflow_scripts.acquire.data_files import data_files, names_of
from workflow_scripts.acquire.hash_files import hash_files
from workflow_scripts.acquire.list_images import array_images, list_images, volume_images
from workflow_scripts.acquire.subjects import read_column
from workflow_scripts.audit import raw_files
from workflow_scripts.audit.audit import audit
from workflow_scripts.audit.claims import tried
from workflow_scripts.audit.counts import counts
from workflow_scripts.audit.custody import custody
from workflow_scripts.audit.evidence import Evidence
from workflow_scripts.audit.patients import patients
from workflow_scripts.common.configuration import load
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.privacy import without_folders
from workflow_scripts.common.schemas import DROPPED, FILES, LISTING, REJECTS, SHARD_INDEX
from workflow_scripts.common.tables import write_table
from workflow_scripts.trail import hashing
from workflow_scripts.trail.hashing import hash_file
from workflow_scripts.trail.records import makers, read_records

DATA = Path("results/small")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a run of two jobs, which read three files from outside."""
    run, outside = tmp_path / "run", tmp_path / "elsewhere"
    run.mkdir()
    outside.mkdir()
    monkeypatch.chdir(run)
    (outside / "archive.tar.gz").write_bytes(b"archive")
    for path, text in {
        "lists/test.txt": "a",
        "results/weights/net.pt": "weights",
        f"{DATA}/one.bin": "one",
        f"{DATA}/two.bin": "two",
    }.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)
    record("results/weights", "fetch_weights/net", [], ["results/weights/net.pt"])
    record(DATA, "first", [outside / "archive.tar.gz", "lists/test.txt"], [f"{DATA}/one.bin"], 1)
    record(
        DATA, "second/job", [f"{DATA}/one.bin", "results/weights/net.pt"], [f"{DATA}/two.bin"], 2
    )
    return outside


FACTS = {
    "step": "", "code": {}, "software": {}, "hardware": {}, "resources": {},
    "wall_seconds": 1.0, "cpu_seconds": 1.0, "peak_memory_mb": 1.0,
}  # fmt: skip


def record(data, name, inputs, outputs, hour=0, **facts):
    """Write the record of a job on the files that stand there."""
    path = Path(data, "provenance", f"{name}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {"rule": name.split("/")[0], "wildcards": {}, "config": {}, **FACTS, **facts}
    found["inputs"], found["outputs"] = (
        [described(one) for one in side] for side in (inputs, outputs)
    )
    path.write_text(json.dumps(found | {"started": f"2026-01-01T0{hour}:00:00+00:00"}))


def described(path):
    name, path = path if isinstance(path, tuple) else (None, path)
    found = hash_file(str(path))
    shown = f"…/{Path(path).name}" if Path(path).is_absolute() else str(path)
    return {"name": name, "path": shown, "bytes": found.bytes, "sha256": found.sha256}


def failing(elsewhere=(), chapter=custody):
    """Return what does not hold: by the name of what tries it, the faults and the obstacles."""
    ((_, found),) = tried([chapter], Evidence(DATA, map(str, elsewhere)))
    return {
        claim.function.__name__: [*((one.path, one.what) for one in check.faults), *check.obstacles]
        for claim, check in found
        if not check.holds
    }


def test_records_say_who_made_what(folder):
    records = read_records(DATA)
    assert [one.rule for one in records] == ["first", "second"]
    assert makers(records)[f"{DATA}/two.bin"].inputs[0].path == f"{DATA}/one.bin"
    assert records[0].inputs[0].elsewhere and not records[0].inputs[1].elsewhere
    Path(DATA, "provenance", "first.json").write_text("[]")
    with pytest.raises(InputError, match=r"first\.json is no provenance record"):
        read_records(DATA)


@pytest.mark.parametrize(
    "change",
    [
        {"code": "abc"}, {"hardware": [1]}, {"wall_seconds": "9"}, {"started": None},
        {"inputs": [{"name": None, "path": 5, "bytes": 0, "sha256": ""}]}, {"outputs": [1]},
        {"inputs": [{"name": [1], "path": "a", "bytes": 0, "sha256": ""}]},
        {"code": {"modules": [1]}}, {"hardware": {"gpus": 5}},
    ],
    ids=str,
)  # fmt: skip
def test_a_forged_record_is_none_and_stops_no_audit(folder, change):
    path = Path(DATA, "provenance", "first.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    ((where, what), *_) = failing()["readable"]
    assert where == str(path) and "no provenance record" in what


def test_files_elsewhere_that_share_a_name_are_told_apart(folder):
    others = [folder / name / "answers.csv" for name in "ab"]
    for number, path in enumerate(others):
        path.parent.mkdir()
        path.write_text(path.parent.name)
        record(DATA, f"reads_{path.parent.name}", [path], [], 3 + number)
    given = [*others, folder / "archive.tar.gz"]
    assert failing(given) == {}
    others[0].write_text("edited")
    assert "from_outside" in failing(given)


def test_what_is_no_file_or_no_text_stops_no_audit(folder):
    records = Path(DATA, "provenance")
    os.mkfifo(records / "pipe.json")
    (records / "folder.json").mkdir()
    (records / "deep.json").write_text("[" * 200_000)
    stray = os.fsencode(DATA) + b"/bad\xff.txt"
    with open(stray, "wb"):  # noqa: PTH123
        pass
    long = {"name": None, "path": "a" * 5000, "bytes": 0, "sha256": ""}
    record(DATA, "third", [], [], 3)
    third = json.loads((records / "third.json").read_text())
    (records / "third.json").write_text(json.dumps(third | {"inputs": [long]}))
    with pytest.raises(InputError):
        audit(Path(DATA), [str(folder / "archive.tar.gz")], 1)
    page = Path(DATA, "audit", "index.html").read_text(encoding="utf-8")
    for name in ("folder.json", "deep.json", "bad\\udcff.txt"):
        assert name in page


@pytest.mark.parametrize("place", range(8, 72))
def test_an_array_with_a_damaged_header_is_found_by_its_hash(folder, place):
    path = Path(DATA, "tensors/64/images_001.npy")
    path.parent.mkdir(parents=True)
    np.save(path, np.ones((3, 4, 4), np.uint8))
    record(DATA, "maker", [], [str(path)], 3)
    content = bytearray(path.read_bytes())
    content[place] = ord("(") if content[place] != ord("(") else ord("'")
    path.write_bytes(content)
    ((where, _),) = failing([folder / "archive.tar.gz"])["unchanged"]
    assert where == str(path)


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        (f"{DATA}/samples/m/s/mass/mass_000.npy", "Run `snakemake samples`"),
        (f"{DATA}/tensors/64/images_001.npy", "Run `snakemake tensors`"),
        (f"{DATA}/features/64/domain/real.npy", "Run the workflow again"),
        (f"{DATA}/samples/m/s/samples.parquet", "Run the workflow again"),
    ],
)
def test_how_a_file_is_made_anew(folder, path, advice):
    Path(path).parent.mkdir(parents=True)
    Path(path).write_text("made")
    record(DATA, "maker", [], [path], 3)
    Path(path).write_text("edited")
    ((where, what),) = failing([folder / "archive.tar.gz"])["unchanged"]
    assert where == path and f"Remove it. {advice}" in what
    Path(path).unlink()
    ((where, what),) = failing([folder / "archive.tar.gz"])["present"]
    assert where == path and advice in what


def test_a_file_that_cannot_be_read_is_named(folder, monkeypatch):
    path = f"{DATA}/one.bin"

    def refuse(path, *_, real=hashing.hash_file):
        if path.endswith("one.bin"):
            raise OSError(5, "Input/output error", path)
        return real(path)

    monkeypatch.setattr(hashing, "hash_file", refuse)
    ((where, what),) = failing([folder / "archive.tar.gz"])["present"]
    assert where == path and what.startswith("cannot be read (Input/output error)")


def test_what_was_read_from_outside_is_read_again(folder):
    archive = folder / "archive.tar.gz"
    assert failing([archive]) == {}
    assert failing([]) == {"from_outside": ["…/archive.tar.gz: it is not there to be read again"]}
    archive.write_bytes(b"another")
    Path("lists/test.txt").write_text("b")
    ((_, archived), (_, listed)) = failing([archive])["from_outside"]
    assert archived.startswith("changed since") and listed.startswith("changed since")


def test_weights_are_what_their_own_record_says(folder):
    Path("results/weights/net.pt").write_text("others")
    record(
        DATA, "second/job", [f"{DATA}/one.bin", "results/weights/net.pt"], [f"{DATA}/two.bin"], 2
    )
    ((path, what),) = failing([folder / "archive.tar.gz"])["from_outside"]
    assert path == "results/weights/net.pt" and "results/weights/provenance" in what


@pytest.mark.parametrize(("hour", "said"), [(3, "stale: made of another"), (1, "made of another")])
def test_what_was_made_of_another_version_is_named(folder, hour, said):
    Path(DATA, "one.bin").write_text("made anew")
    record(DATA, "first", [folder / "archive.tar.gz", "lists/test.txt"], [f"{DATA}/one.bin"], hour)
    found = failing([folder / "archive.tar.gz"])
    ((path, what),) = found.pop("current")
    assert path == f"{DATA}/two.bin" and what.startswith(said) and f"{DATA}/one.bin" in what
    assert found == {}


def test_a_file_of_two_records_or_of_another_rule_is_named(folder):
    record(DATA, "third", [], [f"{DATA}/two.bin"], 4)
    Path(DATA, "provenance", "third.json").rename(Path(DATA, "provenance", "fourth.json"))
    found = failing([folder / "archive.tar.gz"])
    assert found["one_maker"][0][0] == f"{DATA}/two.bin"
    assert found["readable"][0][0] == f"{DATA}/provenance/fourth.json"


def test_logs_checkpoints_and_the_page_are_no_foreign_files(folder):
    for path in ("logs/first.log", "models/m/checkpoints/a/state.pt", "audit/index.html"):
        Path(DATA, path).parent.mkdir(parents=True)
        Path(DATA, path).write_text("")
    assert failing([folder / "archive.tar.gz"]) == {}
    Path(DATA, "models/m/checkpoint.pt").write_text("")
    assert [path for path, _ in failing([folder / "archive.tar.gz"])["one_maker"]] == [
        f"{DATA}/models/m/checkpoint.pt"
    ]


def test_a_crate_is_held_against_the_files_that_it_names(folder):
    archive = [folder / "archive.tar.gz"]
    for name in ("README.md", "workflow/Snakefile", "workflow/a b.py"):
        Path(DATA, name).parent.mkdir(exist_ok=True)
        Path(DATA, name).write_text(name)
    assert failing(archive) == {}  # what is left where the crate itself was removed
    named = ["README.md", "workflow/Snakefile", "workflow/a%20b.py", "two.bin"]
    graph = [
        {
            "@id": name,
            "@type": "File",
            "sha256": hash_file(str(DATA / name.replace("%20", " "))).sha256,
        }
        for name in named
    ]
    crate = Path(DATA, "ro-crate-metadata.json")
    crate.write_text(json.dumps({"@graph": [{"@id": "./", "@type": "Dataset"}, *graph]}))
    assert failing(archive) == {}
    Path(DATA, "workflow/mine.py").write_text("")
    Path(DATA, "workflow/Snakefile").write_text("")
    Path(DATA, "README.md").unlink()
    found = failing(archive)
    assert {path for path, _ in found["as_packed"]} == {f"{DATA}/{name}" for name in named[:2]}
    assert [path for path, _ in found["one_maker"]] == [f"{DATA}/workflow/mine.py"]
    crate.write_text("{}")
    assert failing(archive)["as_packed"][0][0] == str(crate)


def test_an_empty_folder_is_not_said_to_hold(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert list(failing()) == ["readable"]


def test_a_file_of_a_folder_of_images_that_nobody_decoded_is_named(folder):
    files = pd.DataFrame({"image_id": ["a", "b", "c"], "bytes": [1, 1, 1], "part": "part_001"})
    index = pd.DataFrame(
        {
            "image_id": ["a"],
            "shard": "part_001",
            "row": 0,
            "sha256": "0",
            "width": 1,
            "height": 1,
            "mode": "L",
        }
    )
    rejects = pd.DataFrame({name: ["b"] for name in REJECTS.columns})
    paths = {name: f"{DATA}/{name}.parquet" for name in ("files", "index", "rejects")}
    for (name, path), table, schema in zip(
        paths.items(), (files, index, rejects), (FILES, SHARD_INDEX, REJECTS), strict=True
    ):
        write_table(table, path, schema)
        assert name in path
    np.save(f"{DATA}/part_001.npy", np.zeros((1, 2, 2), dtype=np.uint8))
    record(DATA, "list_files", [], [("files", paths["files"])])
    record(
        DATA,
        "resize_archive/part_001",
        [("files", paths["files"])],
        [("index", paths["index"]), ("rejects", paths["rejects"])],
        wildcards={"archive": "part_001"},
    )
    assert failing(chapter=counts)["files_are_decoded_or_rejected"] == [
        (
            paths["index"],
            "files or slices were neither decoded nor rejected, or twice, or are not of this part: "
            "c",
        )
    ]


@pytest.mark.parametrize(
    ("planted", "expected"),
    [
        ({"labels": ["a", "b", "c"]}, "images are in the label table or the listing alone: c"),
        ({"dropped": ["b", "d"]}, "dropped slices are listed: b"),
        ({"channels": [0, 1, 0, 2]}, "images lack a channel, or have one twice: a, b"),
    ],
)
def test_a_label_table_of_slices_names_what_was_listed(folder, planted, expected):
    given = {"labels": ["a", "b"], "dropped": ["d"], "channels": [0, 1, 0, 1]} | planted
    listing = pd.DataFrame(
        {"image_id": ["a", "a", "b", "b"], "part": "part_001", "channel": given["channels"]}
    ).assign(file="x.nii", frame=0, position=0, low=0.0, high=1.0)
    dropped = pd.DataFrame({"image_id": given["dropped"], "reason": "empty slice"})
    paths = {name: f"{DATA}/{name}.parquet" for name in ("listing", "dropped")}
    write_table(listing, paths["listing"], LISTING)
    write_table(dropped, paths["dropped"], DROPPED)
    paths["labels"] = f"{DATA}/labels.csv"
    pd.DataFrame({"image_id": given["labels"]}).to_csv(paths["labels"], index=False)
    record(DATA, "list_images", [], list(paths.items()))
    ((_, what),) = failing(chapter=counts)["labels_name_what_was_listed"]
    assert what == expected


def listed(kind, outside):
    """List the images of a small data set of a kind outside; return its label table."""
    settings = load({"dataset": {"name": "a", "kind": "phantom"}, "tensors": {"size": 8}})
    settings, inputs, empty = settings["dataset"].get(kind), [], []
    if kind == "nifti":
        write_brains(outside, 2)
        pattern = r".*/(?P<subject>case_\d+)_(?P<contrast>t1|seg)\.nii\.gz"
        settings |= {"images": str(outside), "files": pattern, "contrasts": ["t1"]}
        settings["mask"] = {"contrast": "seg", "finding": "Tumour"}
        images, empty = volume_images(settings)
    else:
        if kind == "hdf5":
            write_patches(outside, {"train": 8})
            files = {"images": "split_train_x.h5", "labels": "split_train_y.h5"}
            files |= {"subjects": "split_train_meta.csv", "split": None}
            settings |= {"arrays": {"images": "x", "labels": "y", "subjects": "wsi"}}
        else:
            write_digits(outside, {"train": 8})
            files = {"images": "train-images-idx3-ubyte", "labels": "train-labels-idx1-ubyte"}
            files |= {"split": None}
        settings |= {"folder": str(outside), "files": [files], "findings": {"1": "One"}}
        settings |= {"files": data_files(kind, settings)[0]}
        images = list(array_images(kind, settings, 3 if kind == "hdf5" else 1))
        paths = [outside / name for name in names_of(settings["files"][0])]
        hash_files(paths, outside, f"{DATA}/data_files.parquet")
        record(DATA, "hash_files", paths, [f"{DATA}/data_files.parquet"])
        inputs = [("data", f"{DATA}/data_files.parquet")]
    outputs = {name: f"{DATA}/{name}.parquet" for name in ("listing", "dropped")}
    outputs["labels"] = f"{DATA}/labels.csv"
    list_images(images, empty, ["part_001"], outputs)
    config = without_folders({"kind": kind, "settings": settings})
    record(DATA, "list_images", inputs, list(outputs.items()), config=config)
    return Path(outputs["labels"])


@pytest.mark.parametrize("kind", ["nifti", "hdf5", "idx"])
def test_what_files_say_is_held_against_the_label_table(folder, kind):
    table = listed(kind, folder)
    claim = "the_raw_table_is_what_the_files_say"
    given = list(folder.iterdir())
    assert claim not in failing(given, patients)
    whole = table.read_text()
    first, *_, last = whole.splitlines()[1:]
    name, person, finding, *_ = first.split(",")
    table.write_text(whole.replace(f"{name},{person},", f"{name},somebody,"))
    ((_, what),) = failing(given, patients)[claim]
    assert what == f"images have another patient_id in the files: {name}"
    table.write_text(whole.replace(f"{last}\n", ""))
    ((_, what),) = failing(given, patients)[claim]
    assert what == f"images are in the files or here alone: {last.split(',')[0]}"
    if kind == "nifti":
        return  # a mask says which slices show the finding: it is not read again
    table.write_text(whole.replace(f",{finding},", ",Other,", 1))
    ((_, what),) = failing(given, patients)[claim]
    assert what == f"images have another findings in the files: {name}"
    table.write_text(whole)
    next(path for path in given if "y.h5" in path.name or "labels" in path.name).write_bytes(b"")
    (what,) = failing(given, patients)[claim]
    assert "it is not there any more as it was read" in what


@pytest.mark.parametrize("name", ["x.csv", "x.CSV", "x.csv.gz", "x.CSV.GZ"])
def test_what_a_table_says_is_read_as_it_was(name, tmp_path):
    text = "\ufeffwho , label\n 1 ,A\n\n,\n2 \n".encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(text) if name.lower().endswith(".gz") else text)
    for column, values in (("who", ["1", "2"]), ("label", ["A", ""])):
        assert raw_files.column(str(path), column) == values
        assert read_column(path, column, "key", "advice") == values


def test_the_page_names_what_does_not_hold_and_escapes_it(folder):
    archive = str(folder / "archive.tar.gz")
    audit(DATA, [archive], 1)
    page = Path(DATA, "audit", "index.html")
    assert "Everything holds." in page.read_text()
    assert str(folder) not in page.read_text() and str(Path.cwd()) not in page.read_text()
    Path(DATA, "<b>&.bin").write_text("")
    with pytest.raises(InputError, match=r"(?s)1 of \d+ claims do not hold.*<b>&\.bin: no record"):
        audit(DATA, [archive], 1)
    assert "<code>&lt;b&gt;&amp;.bin</code>" in page.read_text()
    assert "<b>&" not in page.read_text()
    for number in range(8):
        Path(DATA, f"{number}.bin").write_text("")
    with pytest.raises(InputError, match="and 4 more, on the page"):
        audit(DATA, [archive], 1)
    assert page.read_text().count("no record says who made it") == 9
