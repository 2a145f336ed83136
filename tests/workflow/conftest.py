"""Plans by the dozen, and a finished run to change one thing of."""

from collections.abc import Iterator

import pytest
import yaml

from tests.workflow.planning import Forks, World


@pytest.fixture(scope="session")
def forks(tmp_path_factory) -> Iterator[Forks]:
    """Run modules that import Snakemake, cheaply; for what starts no job."""
    process = Forks(tmp_path_factory.mktemp("forks"))
    yield process
    process.close()


@pytest.fixture
def world(tmp_path, phantom_run, root, phantom_config, forks) -> World:
    """The finished small run, for a test to change one thing of."""
    return World(tmp_path, phantom_run, root, yaml.safe_load(phantom_config.read_text()), forks)
