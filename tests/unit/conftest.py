"""What every unit test may use."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.iocontainers import InputFiles, OutputFiles, Params, ResourceList, Wildcards

from workflow_scripts.common import provenance


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


def files(kind, named):
    """Return Snakemake's flat list of files, in which a name may stand for several."""
    found = kind()
    for name, value in (named or {}).items():
        start = len(found)
        found.extend([value] if isinstance(value, str) else value)
        found._set_name(name, start, end=None if isinstance(value, str) else len(found))
    return found


@pytest.fixture
def job(tmp_path, monkeypatch) -> Callable[..., SimpleNamespace]:
    """Return a function that makes what Snakemake hands to a script, in a folder of its own.

    `inputs` and `outputs` are paths by name; parameters and resources are added to those of the job.
    The code stands as the parameter `code` says that it was when the job was planned.
    """
    monkeypatch.chdir(tmp_path)

    def make(inputs=None, outputs=None, params=None, resources=None, wildcards=None):
        given = {"config": '{"seed": 3}', "code": "curate/parse_labels 0123456789abcdef"}
        given |= params or {}
        monkeypatch.setattr(provenance, "fingerprint", lambda step: given["code"])
        asked = {"device": "cpu", "processes": 2, "_cores": 2, "tmpdir": "/tmp"}
        return SimpleNamespace(
            rule="parse_labels",
            threads=1,
            input=files(InputFiles, inputs),
            output=files(OutputFiles, outputs),
            wildcards=Wildcards(fromdict=wildcards or {}),
            params=Params(fromdict=given),
            resources=ResourceList(fromdict=asked | (resources or {})),
            log=[str(tmp_path / "logs" / "parse_labels.log")],
        )

    return make
