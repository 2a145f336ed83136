"""Custody: every file is the one that its job left, and every job worked on what stands there now."""

from collections.abc import Iterator
from pathlib import Path

from workflow_scripts.audit.claims import Chapter, Check
from workflow_scripts.audit.evidence import PACKED, Evidence
from workflow_scripts.common.provenance import CRATE
from workflow_scripts.trail.records import FOLDER, File, Record

custody = Chapter("The files")
REDO = (
    "run the workflow again, or, if the configuration no longer names it, remove it with its record"
)


@custody.claim("Every record can be read, and stands under the name of its rule")
def readable(evidence: Evidence, check: Check) -> None:
    check.count(jobs=len(evidence.records))
    if not evidence.records:
        check.fault(str(evidence.data / FOLDER), "there is no record; nothing can be audited")
    for path, what in evidence.unreadable.items():
        check.fault(path, what)
    for record in evidence.records:
        named = Path(record.path).relative_to(evidence.data / FOLDER)
        if record.rule not in (named.parts[0], named.stem):
            check.fault(record.path, f"this is the record of a job of {record.rule}")


@custody.claim("Every file that a job made is still there, and can be read")
def present(evidence: Evidence, check: Check) -> None:
    check.count(files=len(evidence.makers))
    for record in evidence.records:
        for file in record.outputs:
            if file.path not in evidence.hashes.files:
                what = evidence.hashes.unreadable.get(file.path, "gone")
                check.fault(file.path, f"{what}; {made(record)}. {again(file.path)}")


@custody.claim("Every file is, byte for byte, what its job left")
def unchanged(evidence: Evidence, check: Check) -> None:
    for record in evidence.records:
        for file in record.outputs:
            found = evidence.hashes.files.get(file.path)
            if found is None:
                continue
            check.count(files=1)
            if (found.bytes, found.sha256) != (file.bytes, file.sha256):
                check.fault(
                    file.path,
                    f"changed since it was made: SHA-256 {found.sha256[:12]}…, recorded "
                    f"{file.sha256[:12]}…. Remove it. {again(file.path)}",
                )


@custody.claim("Every file was made by one job, or is of the crate")
def one_maker(evidence: Evidence, check: Check) -> None:
    check.count(files=len(evidence.standing))
    for path in evidence.standing:
        if path in evidence.makers or path in evidence.packed or path == f"{evidence.data}/{CRATE}":
            continue
        # What is left of a crate that a later run removed is no stranger.
        if evidence.packed or Path(path).relative_to(evidence.data).parts[0] not in PACKED:
            check.fault(
                path, "no record says who made it: foreign, left over, or its record is gone"
            )
    for record in evidence.records:
        for file in record.outputs:
            other = evidence.makers[file.path]
            if other is not record:
                check.fault(file.path, f"two records claim it: {record.path} and {other.path}")


@custody.claim("Every job worked on the version of each file that stands there now")
def current(evidence: Evidence, check: Check) -> None:
    for record, file in inputs(evidence):
        maker = evidence.makers.get(file.path)
        if maker is None:
            continue
        check.count(inputs=1)
        left = next(one for one in maker.outputs if one.path == file.path)
        if (file.bytes, file.sha256) != (left.bytes, left.sha256):
            later = str(maker.facts.get("started")) > str(record.facts.get("started"))
            check.fault(
                ", ".join(one.path for one in record.outputs) or record.path,
                f"{'stale: made' if later else 'made'} of another version of {file.path} (SHA-256 "
                f"{file.sha256[:12]}…, now {left.sha256[:12]}…); {REDO}",
            )


@custody.claim("Every file from outside is the one that the jobs read")
def from_outside(evidence: Evidence, check: Check) -> None:
    read: dict[str, str] = {}
    for record, file in inputs(evidence):
        if file.path in evidence.makers:
            continue
        check.count(inputs=1)
        # Of files elsewhere only the name is known, which several may have.
        if not file.elsewhere and read.setdefault(file.path, file.sha256) != file.sha256:
            check.fault(file.path, f"it changed between jobs: {record.path} read another version")
        paths = [file.path]
        if file.elsewhere:
            paths = evidence.elsewhere.get(Path(file.path).name, [])
        standing = [one for one in map(evidence.hashes.files.get, paths) if one is not None]
        if not standing:
            check.obstacles.append(f"{file.path}: it is not there to be read again")
        elif file.sha256 not in [one.sha256 for one in standing]:
            check.fault(file.path, f"changed since {record.path} was written; {REDO}")
        elif (maker := evidence.neighbours.get(file.path)) and file.sha256 not in [
            one.sha256 for one in maker.outputs if one.path == file.path
        ]:
            check.fault(file.path, f"it is not what {maker.path} says was made")


@custody.claim("Every file is as the crate names it, where the folder was packed as one")
def as_packed(evidence: Evidence, check: Check) -> None:
    for path, sha256 in evidence.packed.items():
        found = evidence.hashes.files.get(path)
        check.count(files=1)
        if found is None:
            check.fault(path, "gone since the folder was packed")
        elif found.sha256 != sha256:
            check.fault(path, "changed since the folder was packed; run snakemake crate again")


def inputs(evidence: Evidence) -> Iterator[tuple[Record, File]]:
    """Yield every input of every job."""
    for record in evidence.records:
        for file in record.inputs:
            yield record, file


def again(path: str) -> str:
    """Return how a file is made anew. What reads pixels depends on their list, not on the shards."""
    stage = next((name for name in ("tensors", "samples") if name in Path(path).parts), None)
    if stage is None or Path(path).suffix != ".npy":
        return "Run the workflow again"
    return f"Run `snakemake {stage}`, then the workflow again"


def made(record: Record) -> str:
    """Return who made something, and when."""
    return f"made by {record.rule}, {str(record.facts.get('started'))[:16].replace('T', ' ')}"
