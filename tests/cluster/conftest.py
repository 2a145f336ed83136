"""A cluster for the session."""

from collections.abc import Iterator

import pytest

from tests.cluster.slurm import Absent, Slurm, running_slurm


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """A real SLURM; a machine without its programs skips what needs it."""
    try:
        with running_slurm() as cluster:
            yield cluster
    except Absent as reason:
        pytest.skip(str(reason))
