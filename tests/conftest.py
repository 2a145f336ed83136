"""What every test may use."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Machines are shared: a slow example is no failure, and a failure must come again.
settings.register_profile("synthorax", deadline=None, derandomize=True)
settings.load_profile("synthorax")

ROOT = Path(__file__).resolve().parents[1]


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
