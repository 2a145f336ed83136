"""Running Snakemake as a user does: the command line, in a folder of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Snakemake = Callable[..., subprocess.CompletedProcess]


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
