"""What every test may use."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

# Machines are shared: a slow example is no failure, and a failure must come again.
settings.register_profile("synthorax", deadline=None, derandomize=True)
settings.load_profile("synthorax")

# Tests run side by side: threads that wait for each other must not keep a core busy meanwhile.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

ROOT = Path(__file__).resolve().parents[1]
Snakemake = Callable[..., subprocess.CompletedProcess]


# What takes minutes: begun early, so that no process is left alone with it at the end.
LONG = (
    "slurm",
    "kinds",
    "failures",
    "nih",
    "several",
    "full_disk",
    "shared_cache",
    "surroundings",
    "rerun",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the run that the tests of the workflow share: the unit tests need none meanwhile."""
    turns = {"test_chain.py": -2} | {f"test_{name}.py": n for n, name in enumerate(LONG)}

    def turn(item: pytest.Item) -> int:
        return turns.get(item.path.name, -1 if item.path.parent.name == "unit" else len(LONG))

    items.sort(key=turn)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real radiographs; a machine without them skips what needs them."""
    folder = Path(os.environ.get("SYNTHORAX_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real radiographs in {folder}; SYNTHORAX_REAL_DATA may name their folder")
    return folder


@pytest.fixture(scope="session")
def snakemake(root) -> Snakemake:
    """Call `snakemake(folder, *arguments)`; fails the test if the command fails, unless `check=False`."""

    def run(folder: Path, *arguments: object, check: bool = True, source: Path = root):
        command = [sys.executable, "-m", "snakemake", "--snakefile", source / "Snakefile"]
        command += ["--workflow-profile", source / "profiles" / "default"]
        command += ["--directory", folder, "--cores", "2", *arguments]
        environment = os.environ | {"COLUMNS": "200"}
        done = subprocess.run(
            [str(part) for part in command],
            cwd=source,
            env=environment,
            text=True,
            capture_output=True,
            timeout=1200,
            check=False,
        )
        if check and done.returncode:
            pytest.fail(f"{' '.join(map(str, arguments))}\n{done.stdout}\n{done.stderr[-6000:]}")
        return done

    return run


@pytest.fixture(scope="session")
def phantom_config(root) -> Path:
    """The smallest configuration of the whole chain."""
    return root / "tests" / "workflow" / "phantom.yaml"


@pytest.fixture(scope="session")
def phantom_run(snakemake, phantom_config, tmp_path_factory) -> Path:
    """A finished run of the whole chain; tests read it and leave it as it is.

    One for all processes that run tests side by side: the others wait for the first.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "phantom run"  # with a space, as people have them
    with FileLock(shared / "phantom run.lock"):
        done = shared / "phantom run.done"
        if not done.exists():
            folder.mkdir(exist_ok=True)
            snakemake(
                folder, "all", "comparison", "export", "readers", "--configfile", phantom_config
            )
            done.touch()
    return folder
