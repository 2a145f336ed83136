"""What every unit test may use."""

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def figures() -> Iterator[None]:
    """A figure that a test looked at, and nobody saved, is closed before the next test counts."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")
