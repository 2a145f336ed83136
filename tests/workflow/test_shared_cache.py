"""The cache between workflows through Snakemake: two checkouts share, nothing collides, damage is found."""

import json
import shutil
from pathlib import Path

import pytest

from workflow_scripts.common.files import sha256_of

SAMPLES = "results/phantom/samples/small/dpm4"
RECORDS = "results/phantom/provenance/draw_samples/small/dpm4"
# Two classes, and of one of them two shards.
DRAWN = [f"{SAMPLES}/{name}.npy" for name in ("effusion/effusion_000", "effusion/effusion_001")]
DRAWN += [f"{SAMPLES}/cardiomegaly/cardiomegaly_000.npy"]
JOBS = len(DRAWN)


def drawn(folder: Path) -> dict[str, str]:
    """Return the hash of every shard of samples and of its index, by name."""
    names = [name.replace(".npy", kind) for name in DRAWN for kind in (".npy", ".parquet")]
    return {name: sha256_of(folder / name) for name in names}


def taken(folder: Path) -> set[str]:
    """Return the jobs whose products came from the cache."""
    records = {
        path: json.loads((folder / RECORDS / path).with_suffix(".json").read_text())
        for path in (Path(name).name for name in DRAWN)
    }
    return {name for name, record in records.items() if record["cache"]}


def test_checkouts_share_what_is_the_same_and_nothing_else(
    snakemake, phantom_run, phantom_config, tmp_path, monkeypatch
):
    cache = tmp_path / "cache"
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(cache))

    def draw(name: str, *configuration: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(phantom_run, folder)
        shutil.rmtree(folder / SAMPLES)
        snakemake(folder, *DRAWN, "--cache", "--configfile", phantom_config, *configuration)
        return folder

    expected = drawn(phantom_run)
    assert len(expected) == 2 * JOBS
    first = draw("first")
    assert taken(first) == set()
    entries = [path.parent for path in cache.glob("*/*/record.json")]
    assert len(entries) == JOBS, "a class was handed another's images"

    damaged = entries[0] / "0.npy"
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\xff")
    second = draw("second")
    assert len(taken(second)) == JOBS - 1
    assert drawn(first) == drawn(second) == expected

    other = draw("third", "--config", 'samplers={"dpm4": {"seed": 3}}')
    assert taken(other) == set()
    assert not set(drawn(other).values()) & set(expected.values())


@pytest.mark.parametrize("named", [True, False])
def test_without_the_switch_nothing_is_kept_and_rules_cannot_be_named(
    snakemake, phantom_config, tmp_path, monkeypatch, named
):
    cache = tmp_path / "cache"
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(cache))
    arguments = ["--configfile", phantom_config]
    if named:
        done = snakemake(tmp_path, "-n", "--cache", "draw_samples", *arguments, check=False)
        assert done.returncode
        assert "--cache: name no rules" in done.stdout + done.stderr
    else:
        snakemake(tmp_path, "results/phantom/tensors/16/images_001.npy", *arguments)
        assert not cache.exists()
