"""What kills, interrupts or disturbs a run costs no more than what was under way."""

import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import time
from contextlib import suppress

import pandas as pd
import psutil
import pytest

from tests.workflow.running import (
    PATIENCE,
    Run,
    artefacts,
    as_nih,
    differing,
    failed,
    finished,
    litter,
)

PREDICTIONS = "results/phantom/study/augmentation/predictions/real+0.2_seed0.parquet"
# Each rule needs what the one before it makes.
CHAIN = [
    "describe_phantom",
    "draw_phantom",
    "resize_archive",
    "select_images",
    "train_diffusion",
    "choose_average",
    "draw_samples",
    "collect_samples",
    "compose_arm",
    "train_arm",
]
KILLED = ["step", "everything", "snakemake"]


def test_ten_kills_at_random_moments_leave_the_bytes_of_an_undisturbed_run(
    phantom_run, phantom_config, tmp_path
):
    moments, folder = random.Random(5), tmp_path / "killed"
    arguments = [PREDICTIONS, "--configfile", phantom_config, "--config", 'checkpoint={"steps": 3}']
    kinds = [KILLED[number % 3] for number in range(9)]
    moments.shuffle(kinds)
    survivors, kills = [], 0
    for number, kind in enumerate([*kinds, "snakemake"]):
        # What --unlock removes; the last command of the test does it as a person would.
        shutil.rmtree(folder / ".snakemake" / "locks", ignore_errors=True)
        run = Run(tmp_path / f"{number}.log", folder, *arguments)
        run.until(lambda: set(run.steps()) & set(CHAIN[number:]))  # noqa: B023
        time.sleep(moments.uniform(0, 2))
        steps = list(run.steps().values())
        with suppress(psutil.NoSuchProcess, ProcessLookupError):  # it has just ended by itself
            if kind == "everything":
                run.signal(signal.SIGKILL)
            elif kind == "step" and steps:
                moments.choice(steps).kill()
            else:
                run.process.kill()
        kills += run.end() != 0
        survivors += steps if kind == "snakemake" else []
        assert differing(folder, phantom_run) == {}
    with (tmp_path / "last.log").open("w") as log:
        subprocess.run(
            " && ".join(shlex.join([*run.process.args, extra]) for extra in ("--unlock", "-q")),
            shell=True,
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            check=True,
        )
    assert kills >= 8  # the others came just after the end
    made = artefacts(folder)
    assert PREDICTIONS.removeprefix("results/") in made
    assert len(made) > 40
    assert differing(folder, phantom_run) == {}
    assert litter(folder) == []
    assert psutil.wait_procs(survivors, timeout=0)[1] == [], "a step outlived its Snakemake"


@pytest.fixture
def copy(phantom_run, tmp_path):
    """A copy of the finished run, to change and go on from."""
    return shutil.copytree(phantom_run, tmp_path / "copy")


def test_an_interrupted_training_is_guarded_saved_and_gone_on_with(copy, phantom_config, tmp_path):
    model = copy / "results/phantom/models/small"
    arguments = [
        copy, "results/phantom/models/small/average.parquet", "--configfile", phantom_config,
        "--config", 'models={"small": {"training": {"steps": 60}}}', 'checkpoint={"steps": 2}',
    ]  # fmt: skip
    first = Run(tmp_path / "first.log", *arguments)
    first.until(lambda: list(model.glob("checkpoints/*.pt")), pause=0.002)
    first.signal(signal.SIGSTOP)  # so that it is still there when the second comes
    before = artefacts(copy)
    output = failed(tmp_path / "second.log", *arguments)
    assert "make sure that no other Snakemake process" in output
    assert "--unlock" in output
    assert artefacts(copy) == before
    first.signal(signal.SIGINT)
    first.signal(signal.SIGCONT)
    assert first.end() != 0
    stopped = re.search(
        r"stopped by SIG[A-Z]+ at step (\d+) of 60; the state is saved", first.output
    )
    assert stopped, first.output
    assert "Traceback" not in first.output
    assert not (model / "model.json").exists()
    output = finished(tmp_path / "third.log", *arguments)
    assert f"going on from step {stopped[1]} of 60" in output
    rows = pd.read_parquet(model / "training_log.parquet")
    assert rows["step"].tolist() == list(range(1, 61))
    assert litter(copy) == []


def test_an_archive_that_vanishes_is_named_and_once_it_is_back_the_same_command_ends(
    phantom_run, phantom_config, tmp_path
):
    folder, archives = tmp_path / "run", tmp_path / "archives"
    raw = phantom_run / "results/phantom/raw"
    shutil.copytree(raw, archives)
    shard = "results/phantom/tensors/16/images_002.npy"
    arguments = [
        folder, shard, "--configfile", phantom_config, "--config", f"nih_dir={archives}",
        as_nih(raw, archives, tmp_path / "manifest.tsv"),
    ]  # fmt: skip
    archive, elsewhere = archives / "images_002.tar.gz", tmp_path / "elsewhere.tar.gz"
    run = Run(tmp_path / "first.log", *arguments)
    # Verified and found by Snakemake; its reader takes a second to be loaded.
    run.until(lambda: "resize_archive" in run.steps())
    archive.rename(elsewhere)
    assert run.end() != 0
    assert f"{archive}: No such file or directory. Mend that and run again." in run.output
    assert "Traceback" not in run.output
    assert not (folder / shard).exists()
    second = Run(tmp_path / "second.log", *arguments)
    assert second.end() != 0
    assert f"there is no {archive}. Put it there" in second.output
    elsewhere.rename(archive)
    finished(tmp_path / "third.log", *arguments)
    assert shard.removeprefix("results/") in artefacts(folder)
    assert differing(folder, phantom_run) == {}


def test_files_from_the_future_run_nothing_again(snakemake, copy, phantom_config):
    tomorrow = time.time() + 86_400
    for path in (copy / "results").rglob("*"):
        if path.name.startswith(("images_001", "split", "train", "no_finding", "short")):
            os.utime(path, (tomorrow, tomorrow))
    done = snakemake(copy, "--configfile", phantom_config, "-n")
    assert "Nothing to be done" in done.stdout + done.stderr
