"""What every unit test may use."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def figures() -> Iterator[None]:
    """A figure that a test looked at, and nobody saved, is closed before the next test counts."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


@pytest.fixture
def saved(monkeypatch) -> Callable[[Callable], dict[str, Any]]:
    """Return a function: of another that saves figures, it keeps each by the file's stem."""

    def watch(function: Callable) -> dict[str, Any]:
        module = sys.modules[function.__module__]
        kept, save = {}, module.save_figure

        def keep(figure, path, *arguments):
            kept[Path(path).stem] = figure
            save(figure, path, *arguments)

        monkeypatch.setattr(module, "save_figure", keep)
        return kept

    return watch
