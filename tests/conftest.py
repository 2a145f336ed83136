"""What every test may use."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# Machines are shared: a slow example is no failure, and a failure must come again.
settings.register_profile("synthorax", deadline=None, derandomize=True)
settings.load_profile("synthorax")

ROOT = Path(__file__).resolve().parents[1]
Snakemake = Callable[..., subprocess.CompletedProcess]


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
    """A finished run of the whole chain; tests read it and leave it as it is."""
    folder = tmp_path_factory.mktemp("phantom run")  # with a space, as people have them
    snakemake(folder, "all", "comparison", "export", "readers", "--configfile", phantom_config)
    return folder
