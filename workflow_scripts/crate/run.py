"""The run that a crate holds: the jobs behind what was asked for, all of them, and nothing stale."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.fingerprint import PACKAGE, ROOT, fingerprint
from workflow_scripts.trail.hashing import hash_files
from workflow_scripts.trail.records import File, Record, makers, read_records

SHOWN = 10  # problems that a message names


@dataclass(frozen=True)
class Run:
    """Jobs in the order in which they began, and the files that they were given from outside.

    `made` are the files of the data folder that the jobs made, by path, and `wanted` the paths of those
    that the run was for.
    """

    jobs: list[Record]
    made: dict[str, File]
    given: list[File]
    wanted: list[str]


def run_behind(wanted: Iterable[str], data: str, threads: int = 1) -> Run:
    """Return the run that made some files of a data folder, after every file of it was hashed.

    Raises
    ------
    InputError
        With what stands against calling it one finished run: a file without a record or that is not as
        its record says, a job that had other inputs than there are now, or ran other code.
    """
    wanted = list(wanted)
    maker = makers(read_records(data))
    jobs: dict[str, Record] = {}
    given: dict[File, None] = {}
    problems = []
    waiting = [(path, None) for path in wanted]
    while waiting:
        path, sha256 = waiting.pop()
        record = maker.get(path)
        if record is None:
            problems.append(f"{path} has no provenance record: it is not known what made it")
            continue
        now = next(file for file in record.outputs if file.path == path)
        if sha256 not in (None, now.sha256):
            problems.append(f"{path} was made anew, but not what was made from it")
        if record.path in jobs:
            continue
        jobs[record.path] = record
        for file in record.inputs:
            if inside(file.path, data):
                waiting.append((file.path, file.sha256))
            else:
                given[file] = None
    problems += [
        f"{record.path}: the job ran other code than is here now"
        for record in jobs.values()
        if not of_this_code(record)
    ]
    made = {file.path: file for job in jobs.values() for file in job.outputs}
    problems += changed(made, threads)
    if problems:
        more = [f"… and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        lines = "".join(f"\n  {line}" for line in [*sorted(set(problems))[:SHOWN], *more])
        raise InputError(
            f"{data} holds no finished run that could be passed on:{lines}\n"
            "Remove the files that are named, with what was made from them, and run again."
        )
    began = sorted(jobs.values(), key=lambda job: (job.facts["started"], job.path))
    return Run(began, made, list(given), wanted)


def inside(path: str, folder: str) -> bool:
    """Whether a path lies in a folder."""
    return Path(path).is_relative_to(folder)


def of_this_code(record: Record) -> bool:
    """Whether a job ran the code that is here now."""
    step = record.facts["step"]
    if not step:  # a rule whose product does not depend on its code
        return True
    here = (ROOT / PACKAGE / f"{step}.py").is_file()
    return here and fingerprint(step) == f"{step} {record.facts['code']['fingerprint']}"


def changed(made: dict[str, File], threads: int) -> list[str]:
    """Return which files are gone or hold other bytes than their records say."""
    hashes = hash_files(made, threads).files
    problems = [f"{path} is gone, or cannot be read" for path in made if path not in hashes]
    return problems + [
        f"{path} holds other bytes than its record says"
        for path, found in hashes.items()
        if found.sha256 != made[path].sha256
    ]
