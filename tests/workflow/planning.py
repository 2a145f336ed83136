"""Plans by the dozen: what Snakemake would run after a change, and one process that forks for each."""

import copy
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import yaml

TARGETS = ("all", "comparison", "export", "readers")
# Rules that only name what is asked for.
NAMES = {*TARGETS, "cohort", "tensors", "train", "samples", "evaluate", "study", "report"}


@dataclass
class Plan:
    """What would run: of each rule its jobs, each by the values of its wildcards, joined by spaces."""

    jobs: dict[str, set[str]] = field(default_factory=dict)

    @classmethod
    def from_dry_run(cls, said: str) -> "Plan":
        """Read what a dry run said."""
        plan = cls()
        for rule, lines in re.findall(r"^(?:local)?rule (\w+):\n((?: {4}.*\n)*)", said, re.M):
            found = re.search(r"^    wildcards: (.*)", lines, re.M)
            values = [pair.partition("=")[2] for pair in found[1].split(", ")] if found else []
            if rule not in NAMES:
                plan.jobs.setdefault(rule, set()).add(" ".join(values))
        return plan

    @property
    def rules(self) -> set[str]:
        """The rules that have a job."""
        return set(self.jobs)


class Forks:
    """Modules that run as `python -m` does, without the seconds that it takes to import Snakemake."""

    def __init__(self, folder: Path) -> None:
        self.said = folder / "said.txt"
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("forking.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # An edit of the same length within the same second would leave stale bytecode.
            env=os.environ | {"COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def run(self, checkout: Path, module: str, *arguments: object) -> tuple[int, str]:
        """Run a module in a checkout; return its exit status and what it said."""
        order = [str(checkout), str(self.said), module, list(map(str, arguments))]
        print(json.dumps(order), file=self.process.stdin, flush=True)
        status = int(self.process.stdout.readline())
        return status, self.said.read_text(encoding="utf-8")

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait(timeout=60)


class World:
    """A finished run, and the checkout that made it, for a test to change one thing of.

    `data` and `checkout` are copies, made when they are first asked for. `config` is the
    configuration; `targets` and `arguments` are what Snakemake is asked.
    """

    def __init__(self, folder: Path, run: Path, checkout: Path, config: dict, forks: Forks) -> None:
        self.folder, self.forks = folder, forks
        self.places = {"run": run, "checkout": checkout}
        self.config = copy.deepcopy(config)
        self.targets: tuple[str, ...] = TARGETS
        self.arguments: list[str] = []

    def own(self, name: str, *without: str) -> Path:
        """Return the test's own copy of a place, with the times of its files."""
        place = self.folder / name
        if self.places[name] != place:
            shutil.copytree(self.places[name], place, ignore=shutil.ignore_patterns(*without))
            self.places[name] = place
        return place

    @property
    def data(self) -> Path:
        """The results, to be changed."""
        return self.own("run") / "results" / self.config["dataset"]["name"]

    @property
    def checkout(self) -> Path:
        """The code, to be changed."""
        return self.own("checkout", ".*", "results", "__pycache__")

    def ask(self, module: str, *arguments: object) -> str:
        """Run `snakemake`, or what takes its arguments, and return what it said."""
        config = self.folder / "config.yaml"
        config.write_text(yaml.safe_dump(self.config, sort_keys=False))
        source = self.places["checkout"]
        status, said = self.forks.run(
            source, module, "--snakefile", source / "Snakefile",
            "--workflow-profile", source / "profiles" / "default", "--directory",
            self.places["run"], *arguments, *self.targets, *self.arguments, "--configfile", config,
        )  # fmt: skip
        assert status == 0, said[-6000:]
        return said

    def plan(self) -> Plan:
        """Return what Snakemake would run."""
        return Plan.from_dry_run(self.ask("snakemake", "--dry-run"))

    def why(self) -> list[str]:
        """Return the lines that say why it would."""
        said = self.ask("workflow_scripts.trail.why")
        return [line for line in said.splitlines() if line and "profile" not in line]
