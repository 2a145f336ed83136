"""What the run cost, step by step, from the provenance records of its jobs."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from workflow_scripts.common.numbers import UNKNOWN, count, fixed, percent, things
from workflow_scripts.trail.records import behind, read_records

UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def costs(data: str | Path, read: Iterable[str]) -> dict[str, Any] | None:
    """Return what the jobs cost that lie behind some files.

    Parameters
    ----------
    data : the data folder; jobs of other configurations may have left records there
    read : paths of the files

    Returns
    -------
    `rows`, a step each in the order in which they began, with what a table shows of it; `total`, the
    same of all of them; `most`, the row that took longest; `jobs`, their number; `began`, a date; `gpu`,
    whether any job had one. None where there is no record.
    """
    jobs = [record.facts for record in behind(read, read_records(data))]
    if not jobs:
        return None
    rules: dict[str, list[dict]] = {}
    for job in sorted(jobs, key=lambda job: job["started"]):
        rules.setdefault(job["rule"], []).append(job)
    whole = sum(job["wall_seconds"] for job in jobs)
    rows = [row(rule, own, whole) for rule, own in rules.items()]
    return {
        "rows": rows,
        "total": row("", jobs, whole),
        "most": max(rows, key=lambda row: row["seconds"]),
        "jobs": things(len(jobs), "job"),
        "began": datetime.fromisoformat(min(job["started"] for job in jobs)).date(),
        "gpu": any(map(gpu_seconds, jobs)),
    }


def row(rule: str, jobs: list[dict], whole: float) -> dict[str, Any]:
    """Return what is shown of the jobs of a rule; `whole` are the wall seconds of the run."""
    wall = [job["wall_seconds"] for job in jobs]
    return {
        "rule": rule,
        "jobs": count(len(jobs)),
        "cached": sum(bool(job.get("cache")) for job in jobs),
        "seconds": sum(wall),
        "wall": duration(sum(wall)),
        "percent": percent(sum(wall) / whole),
        "longest": duration(max(wall)),
        "cpu": duration(sum(job["cpu_seconds"] for job in jobs)),
        "memory": memory(max(job["peak_memory_mb"] for job in jobs)),
        "gpu": duration(sum(map(gpu_seconds, jobs))),
        "rows": count(made) if (made := sum(map(rows_made, jobs))) else UNKNOWN,
    }


def gpu_seconds(job: dict) -> float:
    """Return for how long a job held GPUs, times their number: none on a machine that has none."""
    given = job["resources"]
    held = (
        given.get("gpu", 0) if job["hardware"].get("gpus") and given.get("device") != "cpu" else 0
    )
    return 0 if job.get("cache") else held * job["wall_seconds"]


def rows_made(job: dict) -> int:
    """Return how many images, or rows, a job made: those of the longest array or table."""
    return max((file.get("rows") or 0 for file in job["outputs"]), default=0)


def duration(seconds: float) -> str:
    """Return a time with two digits or three: "4.2 s", "13 min", "2.1 h"; none as a dash."""
    for size, unit in UNITS:
        if seconds >= size:
            return f"{short(seconds / size)} {unit}"
    if not seconds:
        return UNKNOWN
    return f"{short(seconds)} s" if seconds >= 0.05 else "< 0.1 s"


def memory(megabytes: float) -> str:
    """Return an amount of memory: "740 MB", "3.1 GB"."""
    if megabytes < 1000:
        return f"{megabytes:.0f} MB"
    return f"{short(megabytes / 1024)} GB"


def short(value: float) -> str:
    """Return a number below 10 with one decimal, above without."""
    return fixed(value, 1 if value < 9.95 else 0)
