"""Audit a data folder: hash everything, prove everything anew, and say on one page what holds."""

import time
from collections.abc import Iterable
from pathlib import Path

from workflow_scripts.audit.claims import Check, Claim, Fault, tried
from workflow_scripts.audit.counts import counts
from workflow_scripts.audit.custody import custody
from workflow_scripts.audit.evidence import Evidence
from workflow_scripts.audit.page import page, speed
from workflow_scripts.audit.patients import patients
from workflow_scripts.audit.results import results
from workflow_scripts.audit.shapes import shapes
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import write_text
from workflow_scripts.common.fingerprint import ROOT
from workflow_scripts.common.numbers import things
from workflow_scripts.common.runtime import log, step

CHAPTERS = (custody, shapes, patients, counts, results)
SHOWN = 5  # faults of a claim in the terminal; the page has them all


def audit(data: Path, elsewhere: Iterable[str], threads: int) -> None:
    """Write the page, `audit/index.html` in the data folder, and log what it says in short.

    Parameters
    ----------
    data, elsewhere, threads : see `Evidence`

    Raises
    ------
    InputError
        If anything does not hold, with the files.
    """
    began = time.monotonic()
    evidence = Evidence(data, elsewhere, threads)
    chapters = list(tried(CHAPTERS, evidence))
    where = data / "audit" / "index.html"
    seconds = time.monotonic() - began
    html = page(evidence, chapters, seconds, ROOT / "resources")
    # A file may have a name that is no text.
    write_text(where, html.encode("utf-8", "backslashreplace").decode())
    claims = [pair for _, own in chapters for pair in own]
    told = sum(not check.vain for _, check in claims)
    failed = [(claim, check) for claim, check in claims if not check.holds]
    end = (
        f"{things(len(evidence.records), 'job')}, {things(len(evidence.hashes.files), 'file')}, "
        f"{speed(evidence.hashes)}, {seconds:.0f} s in all. The page: {where}"
    )
    if failed:
        text = f"{data}: {len(failed)} of {things(told, 'claim')} do not hold.\n"
        raise InputError(text + "\n".join(spoken(*one) for one in failed) + f"\n{end}")
    log.info("%s: all %d claims hold.\n%s", data, told, end)


def spoken(claim: Claim, check: Check) -> str:
    """Return what does not hold of a claim, for the terminal."""
    lines = [f"\nDoes not hold: {claim.sentence}."]
    if not check.faults:
        lines = [f"\nCannot be told: {claim.sentence}."]
    shown: list[Fault | str] = [*check.faults, *check.obstacles]
    for one in shown[:SHOWN]:
        text = f"{one.path}: {one.what}" if isinstance(one, Fault) else f"not tried: {one}"
        lines.append("  " + text.replace("\n", "\n  "))
    if len(shown) > SHOWN:
        lines.append(f"  and {len(shown) - SHOWN} more, on the page")
    return "\n".join(lines)


if __name__ == "__main__":
    with step(snakemake):
        data = Path(snakemake.log[0]).parents[1]
        audit(data, snakemake.params.elsewhere, snakemake.threads)
