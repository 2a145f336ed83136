"""Snakemake as a process of its own, which a test watches and kills while it runs."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from workflow_scripts.common.files import sha256_of

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 300.0  # seconds
LOCALLY = ("--workflow-profile", ROOT / "profiles" / "default", "--cores", 2)
# What must be the same bytes whatever happened on the way: pictures and pages, tables, weights.
ARTEFACTS = (
    "**/*.parquet", "**/*.csv", "**/*.npy", "**/*.safetensors", "**/*.tar.gz", "**/*.png",
    "**/model.json", "**/unet/config.json",
)  # fmt: skip
T = TypeVar("T")


class Run:
    """`snakemake --directory folder *arguments`, in a process group of its own.

    Parameters
    ----------
    log : file for its output; no pipe, which a survivor would hold open
    before : a command that starts it, such as nsenter
    environment : all of its environment variables; None: those of the test
    where : options that say where it computes
    """

    def __init__(
        self,
        log: Path,
        folder: Path,
        *arguments: object,
        before: tuple = (),
        environment: dict | None = None,
        where: tuple = LOCALLY,
    ):
        # A shell's background jobs ignore Ctrl-C, and so would all that they start.
        command = ["env", "--default-signal=INT", *before]
        command += [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile"]
        command += ["--directory", folder, *where, *arguments]
        self.log = log
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                cwd=ROOT,
                env=os.environ | {"COLUMNS": "200"} if environment is None else environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def steps(self) -> dict[str, psutil.Process]:
        """Return a process of each step that is running, by the name of its rule."""
        found = {}
        try:
            children = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return found
        for child in children:
            try:
                script = Path(child.cmdline()[-1])
            except (psutil.Error, IndexError):
                continue
            if script.parent.name == "scripts":
                found[script.name.split(".")[1]] = child
        return found

    def until(self, condition: Callable[[], T], pause: float = 0.01) -> T:
        """Return what `condition` gives once that is true; fails if the run ends before."""
        deadline = time.monotonic() + PATIENCE
        while not (value := condition()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"it never came to that:\n{self.output[-6000:]}")
            time.sleep(pause)
        return value

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to Snakemake and all that it started, as the terminal does."""
        os.killpg(self.process.pid, number)

    def end(self) -> int:
        """Wait for the end and return the exit status."""
        return self.process.wait(PATIENCE)


def finished(*arguments: object, **options: object) -> str:
    """Return the output of a `Run` that succeeded."""
    run = Run(*arguments, **options)
    if run.end():
        pytest.fail(run.output[-8000:])
    return run.output


def failed(*arguments: object, **options: object) -> str:
    """Return the output of a `Run` that failed with an explanation, and not with a traceback."""
    run = Run(*arguments, **options)
    assert run.end() != 0, run.output[-8000:]
    assert "Traceback" not in run.output, run.output[-8000:]
    return run.output


def artefacts(folder: Path, *patterns: str) -> dict[str, str]:
    """Return the SHA-256 of each artefact below results/, by its path."""
    root = folder / "results"
    paths = {path for pattern in patterns or ARTEFACTS for path in root.glob(pattern)}
    return {
        str(path.relative_to(root)): sha256_of(path)
        for path in sorted(paths)
        if not path.name.startswith(".")
    }


def differing(folder: Path, reference: Path) -> dict[str, str]:
    """Return the artefacts below `folder` that are not the same bytes below `reference`."""
    before = artefacts(reference)
    return {
        name: "other bytes" if name in before else "unknown"
        for name, digest in artefacts(folder).items()
        if before.get(name) != digest
    }


def litter(folder: Path) -> list[str]:
    """Return what no finished run leaves behind: temporary files and training states."""
    names = [path for path in (folder / "results").rglob("*") if path.is_file()]
    return [
        str(path.relative_to(folder))
        for path in names
        if path.name.startswith(".") or ".partial" in path.name or path.suffix in (".pt", ".tmp")
    ]


def as_nih(raw: Path, archives: Path, manifest: Path) -> str:
    """Return the setting that reads a phantom's files as those of NIH ChestX-ray14.

    Parameters
    ----------
    raw : folder with the label table
    archives : folder of the archives, which the manifest names by file:// URLs
    manifest : written here
    """
    rows = ["archive\tbytes\tmd5\turl"]
    for path in sorted(archives.glob("*.tar.gz")):
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        rows.append(f"{path.name}\t{path.stat().st_size}\t{md5}\t{path.as_uri()}")
    manifest.write_text("\n".join(rows) + "\n")
    labels = raw / "Data_Entry_2017_v2020.csv"
    nih = {"manifest": str(manifest), "labels": str(labels)}
    return "dataset=" + json.dumps({"name": "phantom", "kind": "nih", "nih": nih})
