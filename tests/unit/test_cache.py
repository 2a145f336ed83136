"""The cache between workflows gives back what was made from the same, and nothing else."""

import json
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest

from workflow_scripts.common.runtime import step
from workflow_scripts.common.store import list_shards

CONFIG = {"class_name": "Effusion", "sampler": {"seed": 2, "steps": 20}}
CODE = "sampling/draw_samples 0123456789abcdef"


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(folder))
    return folder


@pytest.fixture
def run(job, tmp_path):
    """Run a step in a checkout's folder; return whether it worked, and its record."""

    def make(
        checkout, content="pixels", config=CONFIG, code=CODE, model="weights", wildcards=None,
        shards=None,
    ):  # fmt: skip
        folder = tmp_path / checkout
        folder.mkdir(exist_ok=True)
        os.chdir(folder)
        Path("model.bin").write_text(model)
        frame = job(
            inputs={"model": "model.bin"} | ({"shards": str(shards)} if shards else {}),
            outputs={"pixels": "out/a.npz", "index": "out/a.json"},
            params={"config": json.dumps(config, sort_keys=True), "code": code},
            resources={"cache": 1},
            wildcards=wildcards or {"cls": "effusion"},
        )
        frame.log = ["logs/job.log"]
        worked = False
        with step(frame) as given:
            if given is not None:
                worked = True
                Path("out").mkdir(exist_ok=True)
                Path("out/a.npz").write_text(content)
                Path("out/a.json").write_text(content[::-1])
        return worked, json.loads(Path("provenance/job.json").read_text())

    return make


def entries(cache: Path) -> list[Path]:
    return [path.parent for path in cache.glob("*/*/record.json")]


def test_two_checkouts_share_and_the_record_says_whose_work_it_was(run, cache, tmp_path):
    worked, first = run("a")
    assert worked
    worked, second = run("b", content="never written")
    assert not worked
    for name in ("a.npz", "a.json"):
        assert (tmp_path / "b/out" / name).read_text() == (tmp_path / "a/out" / name).read_text()
        assert not (tmp_path / "b/out" / name).is_symlink()
    assert second["cache"]["started"] == first["started"]
    assert [f["sha256"] for f in second["outputs"]] == [f["sha256"] for f in first["outputs"]]
    assert len(entries(cache)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"config": CONFIG | {"class_name": "Mass"}},
        {"config": CONFIG | {"sampler": {"seed": 3, "steps": 20}}},
        {"config": CONFIG | {"sampler": {"seed": 20, "steps": 2}}},
        {"code": CODE[:-1] + "e"},
        {"code": CODE.replace("draw_samples", "plot_denoising")},
        {"model": "other weights"},
        {"wildcards": {"cls": "mass"}},
    ],
)  # fmt: skip
def test_classes_seeds_code_and_inputs_never_collide(run, cache, change):
    run("a")
    worked, _ = run("b", content="other", **change)
    assert worked
    assert len(entries(cache)) == 2


@pytest.mark.parametrize("file", ["0.npz", "1.json", "record.json"])
@pytest.mark.parametrize("damage", ["byte", "cut", "gone", "deep", "gutted"])
def test_a_damaged_entry_is_found_made_anew_and_replaced(run, cache, tmp_path, file, damage):
    run("a")
    (entry,) = entries(cache)
    path = entry / file
    path.chmod(0o644)
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "deep":
        path.write_text("[" * 200_000)
    elif damage == "gutted":
        outputs = json.loads((entry / "record.json").read_text())["outputs"]
        path.write_text(json.dumps({"started": [], "outputs": outputs}))
    else:
        path.write_bytes(content[:3] if damage == "cut" else b"x" + content[1:])
    worked, record = run("b")
    assert worked
    assert record["cache"] is None
    assert "damaged" in (tmp_path / "b/logs/job.log").read_text()
    worked, _ = run("c", content="never written")
    assert not worked, "the damaged entry was not replaced"
    assert (tmp_path / "c/out/a.npz").read_text() == "pixels"


def test_an_entry_of_which_a_file_cannot_be_read_is_left_where_it_is(run, cache, monkeypatch):
    run("a")
    copied = shutil.copyfile

    def refuse(source, target, **options):
        if str(source).startswith(str(cache)):
            raise OSError(116, "Stale file handle", str(source))
        return copied(source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", refuse)
        assert run("b")[0]
    assert len(entries(cache)) == 1
    assert not run("c", content="never written")[0]


def test_pixels_that_are_not_those_of_their_list_are_not_used(run, cache, tmp_path, capsys):
    shards = tmp_path / "tensors"
    shards.mkdir()
    for name in "ab":
        np.save(shards / f"{name}.npy", np.zeros((2, 4, 4), np.uint8))
    table = shards / "shards.parquet"
    list_shards(sorted(shards.glob("*.npy")), table)
    assert run("a", shards=table)[0]
    np.save(shards / "b.npy", np.ones((2, 4, 4), np.uint8))
    assert not run("b", shards=table)[0]  # of a list that is the same: from the cache
    with pytest.raises(SystemExit):
        run("c", shards=table, config=CONFIG | {"class_name": "Mass"})
    assert "b.npy is not the file that" in capsys.readouterr().err
    assert len(entries(cache)) == 1


def test_a_cache_that_can_only_be_read_serves_and_stops_nobody(run, cache, tmp_path):
    run("a")
    for folder in (cache, *cache.rglob("*")):
        folder.chmod(0o555 if folder.is_dir() else 0o444)
    try:
        assert not run("b", content="never written")[0]
        if os.getuid():  # modes do not hold root back
            assert run("c", model="other weights")[0]
            assert "not kept in the cache" in (tmp_path / "c/logs/job.log").read_text()
    finally:
        for folder in (cache, *cache.rglob("*")):
            folder.chmod(0o755)


def test_a_cache_that_cannot_be_made_stops_nobody(run, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(tmp_path / "file" / "cache"))
    assert run("a")[0]
    assert "not kept in the cache" in (tmp_path / "a/logs/job.log").read_text()


@pytest.mark.parametrize("umask", [0, 0o077])
@pytest.mark.parametrize("mode", [0o755, 0o2775, 0o777, 0o700])
def test_who_reads_and_adds_is_as_in_its_folder_whatever_the_umask(run, cache, umask, mode):
    cache.mkdir()
    cache.chmod(mode)
    before = os.umask(umask)
    try:
        run("a")
    finally:
        os.umask(before)
    (entry,) = entries(cache)
    assert stat.S_IMODE(entry.parent.stat().st_mode) == mode & ~stat.S_IWOTH
    for path in (entry, *entry.iterdir()):
        assert not path.stat().st_mode & (stat.S_IWOTH | stat.S_IWGRP), path
        assert path.stat().st_mode & stat.S_IROTH or (mode == 0o700 and path == entry), path
