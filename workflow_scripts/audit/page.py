"""The page of an audit: what holds, what does not, who made it, and what was not looked at."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from workflow_scripts.audit.chain import chain
from workflow_scripts.audit.claims import Check, Claim
from workflow_scripts.audit.evidence import Evidence
from workflow_scripts.common.fingerprint import ROOT
from workflow_scripts.common.numbers import count, things
from workflow_scripts.common.provenance import commit
from workflow_scripts.trail.hashing import Hashes

LIMITS = (
    "Nothing is signed. Who may write here may rewrite files and records alike; what then agrees "
    "with itself is told from the true one by another copy, or by running again.",
    "Archives were not decoded again, and no model, sample or feature was made again: that they are "
    "what their recipe gives, a second run shows, which gives the same bytes on the same machine.",
    "Of the results, those that the claims name were worked out anew. Distances, intervals and "
    "figures rest on the records of the jobs that made them.",
    "Cross-validation, which reads the results of other data folders, is not worked out anew: audit each "
    "of them.",
    "A subject is an id of the label table. One person under two ids was found only if two images "
    "are equal pixel for pixel.",
    "Whether the files are those of the present configuration and code, <code>snakemake -n</code> "
    "says, and in words <code>python -m workflow_scripts.trail.why</code>.",
)

NOT_HASHED = "The image files of the folder themselves have no record and were not hashed."


def page(
    evidence: Evidence,
    chapters: list[tuple[str, list[tuple[Claim, Check]]]],
    seconds: float,
    resources: Path,
) -> str:
    """Return the page as HTML; everything but our own style and sentences is escaped.

    Parameters
    ----------
    chapters : titles, and claims with what came of them
    seconds : what the audit took
    resources : folder of templates and styles
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resources / "audit"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": count, "things": things}
    claims = [pair for _, own in chapters for pair in own]
    steps = chain(evidence)
    style = resources / "report" / "style.css"
    return environment.get_template("page.html.j2").render(
        style=Markup(style.read_text(encoding="utf-8")),
        dataset=evidence.data.name,
        folder=str(evidence.data),
        chapters=chapters,
        chain=steps,
        leaks=sum(link.patients[split] for link in steps for split in link.wrong),
        failed=[pair for pair in claims if not pair[1].holds],
        told=sum(not check.vain for _, check in claims),
        files=len(evidence.hashes.files),
        size=size(evidence.hashes.bytes),
        speed=speed(evidence.hashes),
        seconds=seconds,
        jobs=len(evidence.records),
        made=made(evidence),
        limits=[*map(Markup, LIMITS), *([NOT_HASHED] if evidence.of("list_files") else [])],
        today=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
        commit=commit(ROOT),
    )


def made(evidence: Evidence) -> dict[str, Any]:
    """Return when, by which code and on which machines the files were made: each with its jobs."""
    facts = [record.facts for record in evidence.records]
    started = sorted(str(one["started"]) for one in facts if "started" in one)
    code = [one.get("code") or {} for one in facts]
    machines = [one.get("hardware") or {} for one in facts]
    return {
        "first": started[0][:16].replace("T", " ") if started else None,
        "last": started[-1][:16].replace("T", " ") if started else None,
        "commits": jobs_by(str(one.get("commit") or "no repository") for one in code),
        "locks": jobs_by(str(one.get("lock"))[:12] for one in code),
        "machines": jobs_by(
            " · ".join([str(one.get("cpu")), *map(str, one.get("gpus") or [])]) for one in machines
        ),
        "hours": sum(one.get("wall_seconds") or 0 for one in facts) / 3600,
        "cached": sum(bool(one.get("cache")) for one in facts),
    }


def jobs_by(values: Any) -> list[tuple[str, int]]:
    """Return each value with the number of jobs that have it, the most frequent first."""
    return Counter(values).most_common()


def size(number: float) -> str:
    """Return bytes as "4.2 GB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def speed(hashes: Hashes) -> str:
    """Return how much was hashed how fast: "42.1 GB at 1.9 GB/s"."""
    return f"{size(hashes.bytes)} at {size(hashes.bytes / max(hashes.seconds, 1e-9))}/s"
