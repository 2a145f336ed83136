"""A cluster for the session, and Snakemake that sends its jobs there."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.slurm import Absent, Slurm, running_slurm
from tests.cluster.submitting import OFTEN
from tests.workflow.running import Run


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """A real SLURM; a machine without its programs skips what needs it."""
    try:
        with running_slurm() as cluster:
            yield cluster
    except Absent as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def submit(slurm) -> Iterator[Callable[..., Run]]:
    """Start Snakemake by `submit(folder, profile, *arguments)`; its output goes beside the folder.

    None outlives the tests: it would wait for ever for a cluster that is gone.
    """
    runs = []

    def start(folder: Path, profile: Path, *arguments: object) -> Run:
        run = Run(
            folder.with_name(f"{folder.name}.log"),
            folder,
            *arguments,
            environment=slurm.environment | {"COLUMNS": "200"},
            where=("--workflow-profile", profile, *OFTEN),
        )
        runs.append(run)
        return run

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.signal(signal.SIGKILL)
            run.process.wait()
