"""The provenance records of a data folder: which job made which files, and of what."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import REMAKE

FOLDER = "provenance"  # of the records, in a data folder
# What a record says at least, and of what kind it is (results/README.md).
FACTS = {
    "rule": str,
    "wildcards": dict,
    "step": str,
    "config": dict,
    "code": dict,
    "software": dict,
    "hardware": dict,
    "resources": dict,
    "started": str,
    "wall_seconds": float,
    "cpu_seconds": float,
    "peak_memory_mb": float,
    "inputs": list,
    "outputs": list,
}
ELSEWHERE = "…/"  # before the name of a file that lay outside the working directory


@dataclass(frozen=True)
class File:
    """A file as a job found or left it.

    `name` is what the rule calls it, None where it gives no name; `path` is relative to the working
    directory, or ELSEWHERE and the file's name; `rows` are those of a table or an array.
    """

    name: str | None
    path: str
    bytes: int
    sha256: str
    rows: int | None = None

    @property
    def elsewhere(self) -> bool:
        """Whether the file lay outside the working directory, so that its path is not known."""
        return self.path.startswith(ELSEWHERE)


@dataclass(frozen=True)
class Record:
    """The record of one job; `facts` is all that it says (results/README.md)."""

    path: str
    rule: str
    wildcards: dict[str, str]
    config: dict[str, Any]
    inputs: list[File]
    outputs: list[File]
    facts: dict[str, Any]

    def input(self, name: str | None) -> list[str]:
        """Return the paths of the inputs of one name."""
        return [file.path for file in self.inputs if file.name == name]

    def output(self, name: str | None) -> list[str]:
        """Return the paths of the outputs of one name."""
        return [file.path for file in self.outputs if file.name == name]


def record_paths(data: str | Path) -> list[Path]:
    """Return the paths of all records of a data folder, sorted."""
    return sorted(path for path in Path(data, FOLDER).rglob("*.json") if not path.is_fifo())


def read_record(path: str | Path) -> Record:
    """Read one record; an `InputError` if it is none."""
    try:
        facts = json.loads(Path(path).read_text(encoding="utf-8"))
        for name, kind in FACTS.items():
            if not isinstance(facts[name], (int, float) if kind is float else kind):
                raise TypeError(f"{name} is {facts[name]!r:.40}")
        if not isinstance(facts["code"].get("modules", {}), dict):
            raise TypeError("the modules of its code are no mapping")
        if not isinstance(facts["hardware"].get("gpus", []), list):
            raise TypeError("its GPUs are no list")
        inputs, outputs = ([File(**file) for file in facts[side]] for side in ("inputs", "outputs"))
        for file in (*inputs, *outputs):
            words = [file.path, file.sha256, "" if file.name is None else file.name]
            if not all(isinstance(word, str) for word in words):
                raise TypeError(f"a file of it is {file}")
        return Record(
            str(path),
            facts["rule"],
            facts["wildcards"],
            facts["config"],
            inputs,
            outputs,
            facts,
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is no provenance record ({error}). {REMAKE}") from None


def read_records(data: str | Path) -> list[Record]:
    """Read all records of a data folder, in the order of their paths."""
    return [read_record(path) for path in record_paths(data)]


def behind(paths: Iterable[str], records: Iterable[Record]) -> list[Record]:
    """Return the records of the jobs that made some files, and of those that made what these read."""
    known = makers(records)
    found: dict[str, Record] = {}
    waiting = list(paths)
    while waiting:
        record = known.get(waiting.pop())
        if record is not None and record.path not in found:
            found[record.path] = record
            waiting += [file.path for file in record.inputs]
    return [found[path] for path in sorted(found)]


def makers(records: Iterable[Record]) -> dict[str, Record]:
    """Return who made each file, by its path."""
    return {file.path: record for record in records for file in record.outputs}
