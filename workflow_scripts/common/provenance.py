"""What made an artefact: a record for every job that succeeded, beside its log."""

import json
import os
import platform
import resource
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pyarrow.parquet

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import sha256_of, write_text
from workflow_scripts.common.fingerprint import ROOT, fingerprint, lock_hash, modules
from workflow_scripts.common.privacy import shown, without_folders

LIBRARIES = (
    "snakemake",
    "torch",
    "torchvision",
    "diffusers",
    "numpy",
    "pandas",
    "scikit-learn",
    "torchmetrics",
    "pillow",
    "nibabel",
    "h5py",
)
NVIDIA = Path("/proc/driver/nvidia")
CRATE = "ro-crate-metadata.json"  # in the data folder
# Resources that say how a job was run. Others say whose machine it is: an account, a reservation.
RESOURCES = ("device", "gpu", "processes", "mem_mb", "runtime")
CODE = ("Snakefile", "rules", "workflow_scripts", "resources", "envs")
WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


class Record:
    """What is written down of one job: begun with its inputs, written once its outputs stand.

    Everything volatile of a run is here: no rule depends on a record.

    Raises
    ------
    InputError
        If the code is no longer that for which Snakemake planned the job.
    """

    def __init__(self, snakemake: Any) -> None:
        self.path = beside_log(snakemake.log[0])
        data, job = place(snakemake.log[0])
        # By the log: whoever imports the workflow gives its rules other names.
        self.rule = job.parts[0].removesuffix(".log")
        self.path.unlink(missing_ok=True)
        if snakemake.output:  # a crate (rule crate) would speak of files that are no more
            (data / CRATE).unlink(missing_ok=True)
        self.job = snakemake
        self.began, self.cpu_before = time.monotonic(), cpu_seconds()
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        step, planned = (snakemake.params.get("code") or " ").split(" ")
        if step and fingerprint(step) != f"{step} {planned}":
            raise InputError(
                f"the code of {step} was edited after Snakemake had planned this job, which would "
                "pass for a job of the code before. Run again."
            )
        self.commit = commit(ROOT)
        # The job, by what its product depends on.
        self.identity = {
            "step": step,
            "config": json.loads(snakemake.params.get("config") or "{}"),
            "wildcards": dict(snakemake.wildcards.items()),
            "code": planned,
            "inputs": [described(name, path) for name, path in named(snakemake.input)],
        }

    def write(self, cached: dict | None = None) -> dict:
        """Write the record and return it. `cached`: the record of who made what was taken over."""
        found = self.facts(cached)
        write_text(self.path, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        return found

    def facts(self, cached: dict | None = None) -> dict:
        """Return the record; results/README.md names its fields."""
        step, resources = self.identity["step"], self.job.resources
        usage = [resource.getrusage(who).ru_maxrss for who in WHO]
        return {
            "rule": self.rule,
            "wildcards": self.identity["wildcards"],
            "step": step,
            "config": without_folders(self.identity["config"]),
            "code": {
                "fingerprint": self.identity["code"],
                "modules": modules(step) if step else {},
                "lock": lock_hash(),
                "commit": self.commit,
            },
            "software": dict(versions()) | {"driver": driver()},
            "hardware": hardware(),
            "resources": {"threads": self.job.threads}
            | {name: value for name, value in resources.items() if name in RESOURCES},
            "started": self.started,
            "wall_seconds": round(time.monotonic() - self.began, 3),
            "cpu_seconds": round(cpu_seconds() - self.cpu_before, 3),
            "peak_memory_mb": round(max(usage) / 1024, 1),
            "cache": cached,
            "inputs": self.identity["inputs"],
            "outputs": [
                described(name, path) | {"rows": rows(Path(path))}
                for name, path in named(self.job.output)
            ],
        }


def beside_log(log: str) -> Path:
    """Return where the record of a job is, from where its log is."""
    data, job = place(log)
    return (data / "provenance" / job).with_suffix(".json")


def place(log: str) -> tuple[Path, PurePath]:
    """Return the data folder of a job, and where below `logs` its log is; no other folder is named so."""
    parts = PurePath(log).parts
    below = len(parts) - parts[::-1].index("logs")
    return Path(*parts[: below - 1]), PurePath(*parts[below:])


def named(files: Any) -> list[tuple[str | None, str]]:
    """Return the name and path of every file of Snakemake's `input` or `output`, in its order."""
    names = {}
    for name, value in files.items():
        names |= dict.fromkeys([value] if isinstance(value, str) else value, name)
    return [(names.get(path), path) for path in files]


def described(name: str | None, path: str) -> dict:
    """Return what identifies a file: path, bytes and SHA-256."""
    size = Path(path).stat().st_size
    return {"name": name, "path": shown(path), "bytes": size, "sha256": sha256_of(path)}


def rows(path: Path) -> int | None:
    """Return how many rows a table has, or images an array; None for other files."""
    if path.suffix == ".parquet":
        return pyarrow.parquet.read_metadata(path).num_rows
    if path.suffix == ".npy":
        return len(np.load(path, mmap_mode="r"))
    if path.suffix == ".csv":
        with path.open("rb") as stream:
            return sum(1 for _ in stream) - 1
    return None


def cpu_seconds() -> float:
    """Return the processor time of this process and of its finished children."""
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, WHO))


def hardware() -> dict:
    """Return the processor, its cores, the memory and the GPUs of this machine, but not its name."""
    gpus = [
        line.partition(":")[2].strip()
        for path in sorted(NVIDIA.glob("gpus/*/information"))
        for line in path.read_text().splitlines()
        if line.startswith("Model:")
    ]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": memory // 2**20,
        "gpus": gpus,
    }


def processor() -> str:
    """Return what the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def driver() -> str | None:
    """Return the version of the GPU driver; None where there is none."""
    try:
        return (NVIDIA / "version").read_text().splitlines()[0].split(":")[1].strip()
    except (OSError, IndexError):
        return None


def commit(repository: Path) -> str | None:
    """Return the commit that is checked out, with "+" if files differ from it, or code is not in it.

    None where the code is not in a git repository, or git is not installed.
    """
    try:
        answers = [
            subprocess.run(
                ["git", "-C", str(repository), *arguments],
                capture_output=True,
                text=True,
                check=True,
                timeout=20,
            ).stdout.strip()
            for arguments in (
                ["rev-parse", "--short=12", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no"],
                ["status", "--porcelain", "--untracked-files=all", "--", *CODE],
                ["rev-parse", "--show-prefix"],
            )
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    head, edited, added, prefix = answers
    if prefix:  # unpacked inside somebody else's repository, whose commit says nothing of us
        return None
    return head + ("+" if edited or added else "")


def versions() -> list[tuple[str, str]]:
    """Return the names and versions of Python and of the libraries that shape results."""
    found = [("Python", platform.python_version())]
    for name in LIBRARIES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found
