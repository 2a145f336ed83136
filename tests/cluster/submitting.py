"""Snakemake that sends its jobs to the cluster of the tests, as a user of that cluster would."""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.workflow.running import ROOT

SHIPPED = ROOT / "profiles" / "slurm" / "config.yaml"
# What a user of the cluster of the tests has to say. Accounts need a database, which it has not.
SITE = re.compile(r"^( *)# ((?:slurm_partition|gpu_model): \w+) +\(site\)$", re.MULTILINE)
# Short jobs are asked after more often than a cluster would like.
OFTEN = ("--slurm-init-seconds-before-status-checks", 1, "--seconds-between-status-checks", 1)


def site_profile(folder: Path, retries: int | None = None, **resources: dict) -> Path:
    """Write the shipped profile with the site's lines uncommented, and return its folder.

    Parameters
    ----------
    retries : in place of the profile's
    resources : of rules, added to the profile's or in their place
    """
    text = SITE.sub(r"\1\2", SHIPPED.read_text())
    if retries is not None or resources:
        profile = yaml.safe_load(text)
        profile["retries"] = profile["retries"] if retries is None else retries
        for rule, changes in resources.items():
            profile["set-resources"][rule] = profile["set-resources"].get(rule, {}) | changes
        text = yaml.safe_dump(profile)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(text)
    return folder


def minutes(limit: str) -> int:
    """Return a limit of time, as SLURM writes it, in minutes."""
    days, _, clock = limit.rpartition("-")
    hours, minute, _ = map(int, clock.split(":"))
    return (24 * int(days or 0) + hours) * 60 + minute


def megabytes(memory: str) -> int:
    """Return memory, as SLURM writes it, in MB."""
    return round(float(memory[:-1]) * {"M": 1, "G": 1024}[memory[-1]])


def at_first(resource: object) -> int:
    """Return what a resource in the profile is for the first attempt."""
    return eval(str(resource), {"attempt": 1, "min": min})


@dataclass
class Planned:
    """A job as Snakemake announces it."""

    rule: str
    threads: int
    resources: dict[str, str]


def planned(said: str) -> list[Planned]:
    """Read the jobs that Snakemake announces."""
    jobs = []
    for rule, lines in re.findall(r"^(?:local)?rule (\w+):\n((?: {4}.*\n)*)", said, re.MULTILINE):
        about = dict(line.strip().split(": ", 1) for line in lines.splitlines())
        pairs = [pair.split("=", 1) for pair in about.get("resources", "").split(", ") if pair]
        jobs.append(Planned(rule, int(about.get("threads", 1)), dict(pairs)))
    return jobs


def rule_of(job: dict[str, str]) -> str:
    """Return the rule of a job, as SLURM knows it."""
    return job["Comment"].removeprefix("rule_").partition("_wildcards_")[0]
