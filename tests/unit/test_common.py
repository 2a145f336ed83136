"""Whole files, tables with schemas, the image store, seeds, the frame of a step."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import sha256_of, whole_file, write_text
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import COHORT
from workflow_scripts.common.seeds import generator, seed_for
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table, write_table


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "value.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), whole_file(path) as partial:
        partial.write_text("half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["value.txt"]


WRITER = """
import sys
from pathlib import Path
from workflow_scripts.common.files import whole_file
with whole_file(sys.argv[1]) as partial:
    partial.write_text("half")
    print(partial, flush=True)
    sys.stdin.read()
"""


def test_the_next_writer_removes_what_killed_ones_left_and_nothing_of_the_living(root, tmp_path):
    path = tmp_path / "arm[0].5.txt"
    killed, living = (
        subprocess.Popen(
            [sys.executable, "-c", WRITER, path],
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    )
    partials = {process: Path(process.stdout.readline().strip()) for process in (killed, living)}
    killed.kill()
    killed.communicate()
    assert partials[killed].exists()
    write_text(path, "whole")
    assert path.read_text() == "whole"
    assert not partials[killed].exists()
    assert partials[living].read_text() == "half"
    living.communicate()
    assert path.read_text() == "half"
    assert list(tmp_path.iterdir()) == [path]


def test_sha256_is_that_of_the_bytes(tmp_path):
    write_text(tmp_path / "abc", "abc")
    assert sha256_of(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223")


@pytest.fixture
def cohort():
    return pd.DataFrame(
        {
            "image_id": ["00000001_000.png", "00000002_000.png"],
            "patient_id": ["1", "02"],
            "class_id": [0, 1],
            "class_name": ["No Finding", "Effusion"],
            "findings": ["No Finding", "Effusion"],
            "age_years": [57.0, None],
            "sex": ["F", None],
            "view": ["PA", None],
        }
    )


@pytest.mark.parametrize("name", ["cohort.parquet", "cohort.csv"])
def test_tables_come_back_as_they_were_written(tmp_path, cohort, name):
    write_table(cohort, tmp_path / name, COHORT)
    back = read_table(tmp_path / name, COHORT)
    pd.testing.assert_frame_equal(back, cohort, check_dtype=False)
    assert back["patient_id"].tolist() == ["1", "02"]


def test_tables_are_the_same_bytes_every_time(tmp_path, cohort):
    for name in ("a.parquet", "b.parquet"):
        write_table(cohort, tmp_path / name, COHORT)
    assert sha256_of(tmp_path / "a.parquet") == sha256_of(tmp_path / "b.parquet")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="sex"), "sex"),
        (lambda f: f.assign(extra=1), "extra"),
        (lambda f: f.assign(sex="unknown"), "'unknown'"),
        (lambda f: f.assign(age_years=414.0), "414"),
        (lambda f: f.assign(image_id="same"), "same"),
    ],
)
def test_a_table_outside_its_schema_is_not_written_and_not_read(tmp_path, cohort, change, message):
    path = tmp_path / "cohort.parquet"
    with pytest.raises(InputError, match=message):
        write_table(change(cohort), path, COHORT)
    assert not path.exists()
    change(cohort).to_parquet(path)
    with pytest.raises(InputError, match=message):
        read_table(path, COHORT)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 4)), min_size=1, max_size=30))
def test_the_store_gathers_what_the_index_says(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("store")
    arrays = {}
    for number, name in enumerate("ab"):
        arrays[name] = np.full((5, 3, 3), 100 * number, np.uint8)
        arrays[name] += np.arange(5, dtype=np.uint8)[:, None, None]
        np.save(folder / f"{name}.npy", arrays[name])
    index = pd.DataFrame(rows, columns=["shard", "row"])
    store = ImageStore(index, [folder / "b.npy", folder / "a.npy"])
    expected = np.stack([arrays[shard][row] for shard, row in rows])
    assert np.array_equal(store.all(), expected)
    assert len(store) == len(rows)
    assert store.size == 3


def test_the_store_names_a_shard_that_was_not_given(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((1, 2, 2), np.uint8))
    with pytest.raises(KeyError, match="missing"):
        ImageStore(pd.DataFrame({"shard": ["missing"], "row": [0]}), [tmp_path / "a.npy"])


@pytest.mark.parametrize("name", ["cohort.parquet", "cohort.csv", "shard.npy"])
@pytest.mark.parametrize("kept", [0, 0.5])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path, cohort, name, kept):
    path = tmp_path / name
    if name == "shard.npy":
        np.save(path, np.zeros((4, 8, 8), np.uint8))
    else:
        write_table(cohort, path, COHORT)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(InputError, match=rf"(?s){path.name}.*Remove the file and run again"):
        if name == "shard.npy":
            ImageStore(pd.DataFrame({"shard": ["shard"], "row": [0]}), [path])
        else:
            read_table(path, COHORT)


def test_an_index_beyond_its_shard_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 8, 8), np.uint8))
    with pytest.raises(InputError, match="rows that its shards do not have"):
        ImageStore(pd.DataFrame({"shard": ["a"], "row": [2]}), [tmp_path / "a.npy"])


def test_seeds_depend_on_every_part_and_its_place():
    seeds = {seed_for(1, 2), seed_for(2, 1), seed_for(12), seed_for("1", 2), seed_for(1, 2, 0)}
    assert len(seeds) == 5
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert generator(1, "x").random() == generator(1, "x").random()


def test_a_step_gets_its_configuration_and_logs_a_mendable_error_without_traceback(job, tmp_path):
    with pytest.raises(SystemExit), step(job()) as config:
        assert config == {"seed": 3, "device": "cpu", "processes": 2}
        raise InputError("table.csv has no column 'View'")
    text = (tmp_path / "logs" / "parse_labels.log").read_text()
    assert text == "parse_labels: table.csv has no column 'View'\n"


def test_a_full_disk_is_named_with_its_file_and_a_defect_keeps_its_traceback(job, tmp_path):
    with pytest.raises(SystemExit), step(job()):
        raise OSError(28, "No space left on device", "results/x.npy")
    assert (
        "results/x.npy: No space left on device" in (tmp_path / "logs/parse_labels.log").read_text()
    )
    with pytest.raises(SystemExit), step(job()):
        raise ZeroDivisionError
    assert "Traceback" in (tmp_path / "logs/parse_labels.log").read_text()


def test_importing_the_step_frame_does_not_import_torch():
    code = "import sys, workflow_scripts.common.runtime, workflow_scripts.common.tables; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
