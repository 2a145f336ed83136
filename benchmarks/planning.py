"""How long Snakemake plans, and how much it reads to compare files by content, as runs grow.

    python benchmarks/planning.py

Nothing is trained or drawn: the runs are dry, their files empty.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import yaml
from common import RESULTS, ROOT, command, hardware, table, versions, write_report

from workflow_scripts.acquire.manifest import read_manifest

PRESET = ROOT / "presets" / "nih-256.yaml"
# Models, each with a study of eleven arms; shards per class, of six; seeds per arm.
PLANS = [(1, 2, 1), (2, 40, 15), (3, 100, 30), (5, 200, 70)]
IMAGES, WEIGHTS = 112_120, 285_797_392  # of all archives; bytes of the preset's model
MEASURE = """
import json, resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=sys.stderr, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""
# As `python -m snakemake`, but that it waits after no file that it touches: a tenth of a second each.
TOUCH = "from snakemake import cli; from snakemake.executors import touch; "
TOUCH += "touch.Executor.SLEEPING_TIME = 0; cli.main()"
JOB = re.compile(r"^(?:local)?rule (\w+):\n((?: {4}.*\n)*)", re.MULTILINE)


class Cost(NamedTuple):
    """What a command took: processor seconds, peak memory in MB, and what it said."""

    seconds: float
    memory: float
    said: str


def plan(models: int, shards: int, seeds: int) -> dict:
    """Return the preset with more models, each in a study, more shards per class and more seeds."""
    config = yaml.safe_load(PRESET.read_text(encoding="utf-8"))
    (model,), (sampler,) = config["models"].values(), config["samplers"].values()
    study = config["studies"]["augmentation-256"] | {"seeds": list(range(seeds))}
    names = [f"model-{number}" for number in range(models)]
    return config | {
        "models": dict.fromkeys(names, model),
        "samplers": {"dpm25": sampler | {"shards": shards}},
        "studies": {f"study-{name}": study | {"model": name} for name in names},
        "readers": {},
        "anomaly": {},
    }


def snakemake(folder: Path, config: dict, *arguments: str) -> Cost:
    """Run Snakemake in `folder` as a user does, with the default profile."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    words = [sys.executable, *(["-c", TOUCH] if "--touch" in arguments else ["-m", "snakemake"])]
    words += ["--snakefile", ROOT / "Snakefile"]
    words += ["--workflow-profile", ROOT / "profiles" / "default", "--directory", folder]
    words += [*arguments, "--configfile", path]
    log = folder / "said.txt"
    with log.open("w") as stream:
        # Through a process of its own: of a child, Linux counts the memory of who started it as well.
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, *map(str, words)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=stream,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(log.read_text(encoding="utf-8")[-3000:])
    return Cost(*json.loads(done.stdout), log.read_text(encoding="utf-8"))


def jobs(said: str) -> Iterable[tuple[str, list[str], list[str]]]:
    """Yield rule, inputs and outputs of every job of a dry run."""
    for rule, lines in JOB.findall(said):
        files = dict(re.findall(r"^    (input|output): (.*)", lines, re.MULTILINE))
        yield (
            rule,
            *(files[side].split(", ") if side in files else [] for side in ("input", "output")),
        )


def finish(folder: Path, config: dict, said: str) -> None:
    """Make every file of a plan, empty, and have Snakemake take them for made by it."""
    for _, _, outputs in jobs(said):
        for name in outputs:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    many = ("--cores", "1000", "--resources", "gpu=1000", "--scheduler", "greedy")
    snakemake(folder, config, "--touch", "--forceall", "--quiet", "all", *many)


def planning(title: str, config: dict) -> list[str]:
    """Return a row of the table: a plan, before anything ran, after all did, and after a change."""
    with tempfile.TemporaryDirectory() as folder:
        first = snakemake(Path(folder), config, "--dry-run")
        everything = list(jobs(first.said))
        finish(Path(folder), config, first.said)
        second = snakemake(Path(folder), config, "--dry-run")
        if "Nothing to be done" not in second.said:
            raise RuntimeError(f"{title}: something is left to do")
        samplers = {name: other | {"seed": 99} for name, other in config["samplers"].items()}
        third = snakemake(Path(folder), config | {"samplers": samplers}, "--dry-run")
    return [
        title,
        f"{len(everything):,}",
        f"{sum(len(inputs) for _, inputs, _ in everything):,}",
        *(f"{cost.seconds:.1f} s" for cost in (first, second, third)),
        f"{max(cost.memory for cost in (first, second, third)):,.0f} MB",
    ]


def compared() -> tuple[list[list[str]], float]:
    """Return what Snakemake reads after the jobs of the preset, as rows by rule, and all of it in GB.

    It takes the SHA-256 of every input once for each output of a job. Counted are archives, shards and
    the weights of models; the rest is small.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = yaml.safe_load(PRESET.read_text(encoding="utf-8"))
        said = snakemake(Path(folder), config, "--dry-run").said
    archives = read_manifest("resources/nih_archives.tsv")
    side, (sampler,) = config["tensors"]["size"], config["samplers"].values()

    def size(name: str) -> float:
        path = Path(name)
        if path.name.endswith(".tar.gz"):
            return archives[path.name.removesuffix(".tar.gz")].bytes
        if path.suffix == ".npy" and "tensors" in path.parts:
            return IMAGES / len(archives) * side**2
        if path.suffix == ".npy" and "samples" in path.parts:
            return sampler["per_class"] / sampler["shards"] * side**2
        return WEIGHTS if path.suffix == ".safetensors" and "models" in path.parts else 0

    count, read = {}, {}
    for rule, inputs, outputs in jobs(said):
        count[rule] = count.get(rule, 0) + 1
        read[rule] = read.get(rule, 0) + len(outputs) * sum(map(size, inputs)) / 1e9
    rows = [
        [f"`{rule}`", f"{count[rule]:,}", f"{read[rule]:,.0f} GB"]
        for rule in sorted(read, key=lambda rule: -read[rule])
        if read[rule] >= 1
    ]
    return rows, sum(read.values())


def hashing_speed(megabytes: int = 500) -> float:
    """Return how fast this machine takes the SHA-256 of a file in memory, in GB per second."""
    with tempfile.TemporaryFile() as stream:
        stream.write(os.urandom(megabytes * 10**6))
        stream.seek(0)
        began = time.process_time()
        hashlib.file_digest(stream, "sha256")
        return megabytes / 1000 / (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--largest", type=int, default=len(PLANS), help="how many of the plans")
    given = parser.parse_args()
    preset = yaml.safe_load(PRESET.read_text(encoding="utf-8"))
    rows = [planning("`presets/nih-256.yaml`", preset)]
    for models, shards, seeds in PLANS[: given.largest]:
        title = f"{models} × (6 × {shards} shards, 11 arms × {seeds} seeds)"
        rows.append(planning(title, plan(models, shards, seeds)))
    read, total = compared()
    speed = hashing_speed()
    write_report(
        RESULTS / "planning.md",
        "Planning",
        "`snakemake --dry-run` of the NIH preset (six classes, three studies of eleven arms and five "
        "seeds) and of larger runs: models that are each sampled in six classes and have a study. "
        "*First*: nothing was made yet. *Done*: all files stand and are up to date (they are empty, so "
        "that no content is compared). *Changed*: then the samplers' seed is another. Seconds of the "
        f"processor; one process plans, so that an idle machine takes as long (`{command()}`).",
        table(["run", "jobs", "inputs", "first", "done", "changed", "memory"], rows),
        "The cost grows with jobs and with their inputs, by the same amount for each. That no job has "
        "hundreds of inputs is owed to the tables `shards.parquet`: a job that reads pixels depends on "
        "the one table, which holds the SHA-256 of every shard, and not on the shards.",
        "After each job Snakemake takes the SHA-256 of all its inputs, once for each of its outputs and "
        "in its main process, where no other job starts meanwhile; nested processes (of a cluster's "
        "jobs) take none. Over the whole preset these are the archives, shards and weights that it "
        "reads, where they are inputs:",
        table(["rule", "jobs", "read"], read),
        f"Together {total:,.0f} GB, {total / speed / 60:.0f} minutes at the {speed:.1f} GB/s of one core "
        "here, over a run of days. A file that was touched is read once more by every dry run until "
        "what depends on it is made again, or `snakemake --touch` was called.",
        f"On {hardware('cpu')}; {versions('snakemake')}.",
    )


if __name__ == "__main__":
    main()
