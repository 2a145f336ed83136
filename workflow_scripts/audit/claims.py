"""Claims: sentences about a run that either hold or do not, each with the function that tries it."""

import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from workflow_scripts.audit.evidence import Evidence
from workflow_scripts.common.errors import InputError, few
from workflow_scripts.common.numbers import things
from workflow_scripts.common.runtime import progress
from workflow_scripts.trail.records import Record


@dataclass(frozen=True)
class Fault:
    """What does not hold of a file."""

    path: str
    what: str


@dataclass
class Check:
    """What came of trying one claim.

    `counts` says of how much it holds; `obstacles` is what stood in the way of trying it, so that
    nothing is known of that part.
    """

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    obstacles: list[str] = field(default_factory=list)

    def count(self, **numbers: int) -> None:
        """Add to what was looked at: `count(images=3)`."""
        self.counts.update(numbers)

    def fault(self, path: str, what: str) -> None:
        """Note what does not hold of a file."""
        self.faults.append(Fault(path, what))

    def none_of(self, path: str, names: Iterable[Any], what: str) -> None:
        """Demand that there is none of `names`; else the fault is "<what>: a, b and 7 more"."""
        names = sorted(set(map(str, names)))
        if names:
            self.fault(path, f"{what}: {few(names)}")

    def equal(self, path: str, what: str, found: Any, expected: Any) -> None:
        """Demand that what a file says is what the files say that it rests on."""
        if found != expected:
            if isinstance(found, dict) and isinstance(expected, dict):
                keys = [key for key in {**found, **expected} if found.get(key) != expected.get(key)]
                found, expected = ({k: side.get(k) for k in keys} for side in (found, expected))
            said, due = shown(found), shown(expected)
            self.fault(path, f"{what}: {said}, but {due} by the files that it rests on")

    @contextmanager
    def held_against(self, path: str) -> Iterator[None]:
        """Hold an `InputError` of the block against a file, and go on after it."""
        try:
            yield
        except InputError as error:
            self.fault(path, str(error))

    @property
    def holds(self) -> bool:
        return not self.faults and not self.obstacles

    @property
    def vain(self) -> bool:
        """Whether there was nothing to try it on."""
        return self.holds and not self.counts.total()

    @property
    def extent(self) -> str:
        """Return of how much it was tried: "3 models, 49 images"."""
        return ", ".join(
            things(number, unit.replace("_", " ").removesuffix("s"))
            for unit, number in self.counts.items()
        )


def shown(value: Any) -> str:
    """Return a value for a message, what has no order in order, and nothing that is long."""
    if isinstance(value, dict):
        value = {f"{key} {one}" for key, one in value.items()}
    if isinstance(value, set):
        value = ", ".join(sorted(map(str, value))) or "none"
    return textwrap.shorten(str(value), 200, placeholder=" …")


@dataclass(frozen=True)
class Claim:
    """A sentence, and what tries it: once, or once for each job of some rules."""

    sentence: str
    rules: tuple[str, ...]
    function: Callable[..., None]

    def tried(self, evidence: Evidence) -> Check:
        """Try the claim; a file that cannot be read keeps no other from being tried."""
        check = Check()
        records: list[Record | None] = [None]
        if self.rules:
            records = [record for rule in self.rules for record in evidence.of(rule)]
        for record in records:
            try:
                self.function(evidence, check, *([record] if record else []))
            except InputError as error:
                check.obstacles.append(str(error))
            except Exception as error:
                # What a forged table or record holds may be anything; that it is no table of
                # ours is a finding, and no reason to stop looking.
                where = record.path if record else evidence.data
                check.obstacles.append(f"{where}: {type(error).__name__}: {error}")
        check.obstacles = list(dict.fromkeys(check.obstacles))
        return check


class Chapter:
    """Claims that belong together, in the order in which they are tried and told."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.claims: list[Claim] = []

    def claim(self, sentence: str, *rules: str) -> Callable:
        """Register a function as what tries `sentence`.

        It gets the evidence and the check to write to; with `rules`, also the record of a job, and
        it is called for every job of these rules.
        """

        def register(function: Callable[..., None]) -> Callable[..., None]:
            self.claims.append(Claim(sentence, rules, function))
            return function

        return register


def tried(
    chapters: Iterable[Chapter], evidence: Evidence
) -> Iterator[tuple[str, list[tuple[Claim, Check]]]]:
    """Yield each chapter's title, and its claims with what came of them."""
    for chapter in chapters:
        claims = progress(chapter.claims, chapter.title, unit="claim")
        yield chapter.title, [(claim, claim.tried(evidence)) for claim in claims]
