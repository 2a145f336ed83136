"""A disk that is full, or not to be written: the file is named, and with room the same command ends."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workflow.running import (
    ROOT,
    Run,
    artefacts,
    as_nih,
    differing,
    failed,
    finished,
    litter,
)

NO_ROOM = "No space left on device. Mend that and run again."
SIZE = 32 << 20


class Disk:
    """A small file system that only those processes see which are started through it.

    Attributes
    ----------
    through : the command that starts them
    seen : its folder, as the test sees it
    """

    def __init__(self, folder: Path):
        folder.mkdir(parents=True)
        self.folder = folder
        alone = [] if os.getuid() == 0 else ["--user", "--map-root-user"]
        script = f'mount -t tmpfs -o size={SIZE} none "$1" && echo ready && exec sleep 1800'
        self.holder = subprocess.Popen(
            ["unshare", "--mount", *alone, "sh", "-c", script, "sh", folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        said = self.holder.stdout.readline().strip()
        if said != "ready":
            self.holder.wait()
            pytest.skip(f"no file system may be mounted here, even privately: {said}")
        self.through = ("nsenter", "--target", self.holder.pid, "--mount")
        self.through += ("--user", "--preserve-credentials") if alone else ()
        self.seen = Path(f"/proc/{self.holder.pid}/root{folder}")

    def leave(self, free: int) -> None:
        """Fill the disk but for so many bytes."""
        ballast = self.seen / "ballast"
        ballast.unlink(missing_ok=True)
        ballast.write_bytes(bytes(max(0, shutil.disk_usage(self.seen).free - free)))

    def remount(self, how: str) -> None:
        """Mount it anew, such as `ro`: to be read only."""
        command = [*self.through, "mount", "-o", f"remount,{how}", self.folder]
        subprocess.run([str(part) for part in command], check=True)

    def close(self) -> None:
        """Take it away; the kernel does once nobody uses it."""
        self.holder.kill()
        self.holder.communicate()


@pytest.fixture
def disk(tmp_path) -> Iterator[Disk]:
    """A disk where a run has its results."""
    disk = Disk(tmp_path / "run" / "results")
    yield disk
    disk.close()


WRITERS = """
import sys
from pathlib import Path
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from workflow_scripts.common.figures import save_figure
from workflow_scripts.common.files import whole_file, write_text
from workflow_scripts.common.runtime import remedy
from workflow_scripts.common.transfer import download
from workflow_scripts.common.weights import write_weights
from workflow_scripts.training.checkpoint import Checkpoint

folder, source = Path(sys.argv[1]), Path(sys.argv[2])
noise = np.random.default_rng(14).random(40_000)

def array(path):
    with whole_file(path) as partial:
        np.save(partial, noise)

def table(path):
    with whole_file(path) as partial:
        pd.DataFrame({"noise": noise}).to_parquet(partial)

def figure(path):
    drawn = plt.figure()
    drawn.figimage(noise.reshape(200, 200))
    save_figure(drawn, path)

def fetched(path):
    source.write_bytes(noise.tobytes())
    download(source.as_uri(), path, ("md5", ""))  # of unknown length

for name, write in {
    "array.npy": array,
    "table.parquet": table,
    "figure.png": figure,
    "text.txt": lambda path: write_text(path, "word " * 40_000),
    "weights.safetensors": lambda path: write_weights({"noise": torch.tensor(noise)}, path),
    "key.pt": lambda path: Checkpoint(path.parent, "key").save({"noise": torch.tensor(noise)}),
    "file.bin.partial": lambda path: fetched(path.with_suffix("")),
}.items():
    try:
        write(folder / name)
    except Exception as error:
        print(name, remedy(error) or repr(error))
    else:
        print(name, "was written")
"""


def test_whatever_writes_a_file_names_it_when_the_disk_is_full(disk, tmp_path):
    disk.leave(1 << 14)
    command = [*disk.through, sys.executable, "-c", WRITERS, disk.folder, tmp_path / "source"]
    said = subprocess.run(
        [str(part) for part in command],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    lines = dict(line.split(" ", 1) for line in said.splitlines())
    assert lines == {name: f"{disk.folder / name}: {NO_ROOM}" for name in lines}
    assert len(lines) == 7
    # Of a download, what has arrived is kept, to go on from.
    assert {path.name for path in disk.seen.iterdir()} == {"ballast", "file.bin.partial"}


def test_a_full_disk_stops_each_stage_with_advice_and_room_lets_the_same_command_end(
    phantom_run, phantom_config, disk, tmp_path
):
    data = phantom_run / "results/phantom"
    raw, weights = data / "raw", data / "models/small/ema/short.safetensors"
    folder, seen = disk.folder.parent, disk.seen / "phantom"
    target = "results/phantom/samples/small/dpm4/samples.parquet"
    options = ("--configfile", phantom_config, "--config", "device=cpu")
    options += (as_nih(raw, raw, tmp_path / "manifest.tsv"),)

    def command(name, *targets):
        return tmp_path / f"{name}.log", folder, *targets, *options

    def whole():
        return differing(disk.seen.parent, phantom_run) == {}

    shards = [f"results/phantom/tensors/16/images_00{n}.npy" for n in (1, 2)]
    downloads = sum(path.stat().st_size for path in raw.glob("*.tar.gz"))
    disk.leave(downloads // 4)
    output = failed(*command("download", *shards), before=disk.through)
    assert f"{disk.folder.name}/phantom/raw: the disk has" in output
    assert whole()
    disk.leave(downloads + (1 << 15))
    output = failed(*command("tensors", *shards), before=disk.through)
    assert NO_ROOM in output
    assert "tensors/16/images_00" in output
    assert whole()
    disk.leave(1 << 20)
    output = failed(*command("state", target), before=disk.through)
    assert f".pt: {NO_ROOM}" in output
    assert whole()
    disk.leave(int(7.5 * weights.stat().st_size))
    output = failed(*command("weights", target), before=disk.through)
    assert f"ema/long.safetensors: {NO_ROOM}" in output
    assert whole()
    disk.leave(SIZE)
    run = Run(*command("samples", target), before=disk.through)
    run.until((seen / "benchmarks/choose_average/small.tsv").exists)
    disk.leave(0)
    assert run.end() != 0
    assert "Traceback" not in run.output, run.output
    assert re.search(rf"phantom/\S*small\S*: {re.escape(NO_ROOM)}", run.output), run.output
    assert whole()
    disk.leave(SIZE)
    finished(*command("end", target), before=disk.through)
    assert target.removeprefix("results/") in artefacts(disk.seen.parent)
    assert whole()
    assert litter(disk.seen.parent) == []
    disk.remount("ro")
    output = failed(
        *command("read only", target, "--forcerun", "collect_samples"), before=disk.through
    )
    assert "Write-protected output files" in output
    assert target in output
    unmade = "results/phantom/study/augmentation/arms.parquet"
    assert "Read-only file system" in failed(*command("unmade", unmade), before=disk.through)
    assert target.removeprefix("results/") in artefacts(disk.seen.parent)
    inside = (tmp_path / "inside.log", disk.folder, target, *options)
    assert f"{disk.folder} cannot be written" in failed(*inside, before=disk.through)
