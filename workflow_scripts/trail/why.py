"""Say in plain words what would run, and what has changed that it must.

    python -m workflow_scripts.trail.why [targets and options, as for snakemake]

Nothing is run. Snakemake decides; what it decides by is compared with the record of each job's last run.
"""

import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from snakemake import api, cli
from snakemake.dag import DAG
from snakemake.jobs import Job
from snakemake.logging import logger

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.fingerprint import lock_hash, modules
from workflow_scripts.common.numbers import things
from workflow_scripts.common.privacy import shown, without_folders
from workflow_scripts.common.provenance import beside_log
from workflow_scripts.trail.records import read_record

modules_of = cache(modules)  # hundreds of jobs run one step
LISTED = 3  # files or keys that are named together
WIDTH = 60  # characters of a value
# What other parameters than the configuration and the code stand for.
PARAMETERS = {
    "vocabulary": "resources/findings.tsv",
    "template": "a template or style of its page",
    "files": "a file that it fills in or copies",
}


def main(arguments: list[str]) -> int:
    """Print why what would run would run; return the exit status."""
    return 0 if planned(arguments, lambda dag: print("\n".join(explained(dag)))) else 1


def planned(arguments: list[str], examine: Callable[[DAG], None]) -> bool:
    """Let Snakemake plan what `arguments` ask for, and show the plan to `examine`.

    Of what Snakemake itself says only errors are shown. Returns whether there is a plan.
    """

    class Plan(api.DAGApi):
        """Snakemake's own way from the command line to a plan, so that each option means the same."""

        def execute_workflow(self, **settings: Any) -> None:
            super().execute_workflow(**settings)
            examine(self.workflow_api._workflow.dag)

    def is_error(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR

    parser, options = cli.parse_args(["--dry-run", *arguments])
    logger.addFilter(is_error)
    try:
        with mock.patch.object(api, "DAGApi", Plan):
            return cli.args_to_api(options, parser)
    finally:
        logger.removeFilter(is_error)


def explained(dag: DAG) -> Iterator[str]:
    """Yield lines: what changed and which jobs run for it, then those that follow from these."""
    jobs = [
        job
        for level in dag.toposorted(set(dag.needrun_jobs(exclude_finished=False)))
        for job in sorted(level, key=str)
        if not job.rule.norun
    ]
    if not jobs:
        yield "Nothing would run: all that was asked for is there, and made by what stands here."
        return
    roots: dict[tuple[str, ...], list[Job]] = {}
    following = []
    for job in jobs:
        if found := tuple(causes(job, dag)):
            roots.setdefault(found, []).append(job)
        else:
            following.append(job)
    yield f"{things(len(jobs), 'job')} would run."
    for found, same in roots.items():
        yield ""
        yield f"{named(same)}: {found[0]}"
        yield from (f"    {more}" for more in found[1:])
    if following:
        yield ""
        yield f"and what follows from them: {named(following)}"


def named(jobs: Iterable[Job]) -> str:
    """Name jobs by their rules: `draw_samples (6 jobs), train_diffusion [model small]`."""
    rules: dict[str, list[Job]] = {}
    for job in jobs:
        rules.setdefault(job.rule.name, []).append(job)
    words = []
    for rule, same in rules.items():
        wildcards = ", ".join(f"{name} {value}" for name, value in same[0].wildcards_dict.items())
        one = f"{rule} [{wildcards}]" if wildcards else rule
        words.append(one if len(same) == 1 else f"{rule} ({things(len(same), 'job')})")
    return ", ".join(words)


def causes(job: Job, dag: DAG) -> Iterator[str]:
    """Yield what is a job's own reason to run; nothing where it follows from others alone."""
    reason = dag.reason(job)
    absent = [str(path) for path in job.output if not Path(path).exists()]
    if reason.nooutput or reason.noio:
        yield "runs whenever it is asked for"
        return
    if reason.forced:
        if set(job.output) & dag.forcefiles - set(dag.workflow.dag_settings.forcerun):
            yield "was interrupted the last time"
        else:
            yield "it was asked for by force"
    if absent and len(absent) == len(job.output) and record_of(job) is None:
        yield "never ran"
        return
    if reason.missing_output:
        yield files("output", "is missing", absent)
    for name in changed_parameters(job, dag):
        yield from parameter_changes(name, record_of(job), job)
    if any(dag.workflow.persistence.input_changed(job)):
        yield from input_changes(record_of(job), job)
    if reason.updated_input:
        given = [path for path in job.input if path in reason.updated_input]
        yield files("input", "has other content", given)


def changed_parameters(job: Job, dag: DAG) -> list[str]:
    """Return the names of the parameters that Snakemake finds changed."""
    changed = dag.workflow.persistence.params_changed(job)
    return [name for name, given in job.params.items() if repr(given) in changed.only_new]


def parameter_changes(name: str, record: dict | None, job: Job) -> list[str]:
    """Say of a changed parameter what is another, as far as the record of the last run tells."""
    found = []
    if name == "config":
        if record is not None:
            found += setting_changes(record["config"], without_folders(settings_of(job)))
        return found or ["a folder in its configuration changed, or what no record tells of it"]
    if name == "code":
        if record is not None:
            found += code_changes(record["code"], job)
        return found or ["its code changed; no record tells where"]
    return [f"{PARAMETERS.get(name, name)} changed"]


def record_of(job: Job) -> dict | None:
    """Return the record of a job's last run; None if there is none that can be read."""
    path = beside_log(str(job.log[0])) if job.log else None
    if path is None or not path.is_file():
        return None
    try:
        return read_record(path).facts
    except InputError:
        return None


def settings_of(job: Job) -> dict:
    """Return the canonical configuration of a job."""
    return json.loads(job.params.get("config", "{}"))


def setting_changes(before: Any, now: Any, key: str = "") -> Iterator[str]:
    """Yield each key of a configuration that is new, gone or has another value."""
    before, now = keyed(before), keyed(now)
    if isinstance(before, dict) and isinstance(now, dict):
        for name in [*before, *(name for name in now if name not in before)]:
            inner = f"{key}.{name}".removeprefix(".")
            if name not in now:
                yield f"{inner} was {text(before[name])}, is gone"
            elif name not in before:
                yield f"{inner} is new: {text(now[name])}"
            else:
                yield from setting_changes(before[name], now[name], inner)
        if before == now and list(before) != list(now):
            yield f"{key} stand in another order"
    elif before != now:
        lists = isinstance(before, list) and isinstance(now, list)
        if lists and max(map(len, map(str, (before, now)))) > WIDTH:
            yield from member_changes(before, now, key)
        else:
            yield f"{key} was {text(before)}, is {text(now)}"


def member_changes(before: list, now: list, key: str) -> Iterator[str]:
    """Yield what a list that is too long to be shown has gained and lost."""
    gained = [text(item) for item in now if item not in before]
    lost = [text(item) for item in before if item not in now]
    if gained:
        yield f"{key} has gained {', '.join(gained)}"
    if lost:
        yield f"{key} has lost {', '.join(lost)}"
    if not gained and not lost:
        yield f"{key} stand in another order"


def keyed(value: Any) -> Any:
    """Return a list of pairs, in which a rule's configuration keeps an order, as a mapping."""
    pairs = isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in value
    )
    return dict(value) if pairs and value else value


def text(value: Any) -> str:
    """Return a value of a configuration as people write it."""
    words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return words if len(words) <= WIDTH else f"{words[: WIDTH - 1]}…"


def code_changes(before: dict, job: Job) -> Iterator[str]:
    """Yield which modules that a job's step reaches are others, and whether the environment is."""
    now, then = modules_of(job.params["code"].partition(" ")[0]), before.get("modules", {})
    changed = [name for name, found in now.items() if then.get(name, found) != found]
    new = [name for name in now if name not in then]
    gone = [name for name in then if name not in now]
    for names, what in ((changed, "changed"), (new, "is new"), (gone, "is gone")):
        if names:
            yield files("code:", what, names)
    if before.get("lock") != lock_hash():
        yield "environment: envs/requirements.lock changed"


def input_changes(record: dict | None, job: Job) -> Iterator[str]:
    """Yield which files a job would read that it did not read before, and the other way round."""
    if record is None:
        yield "the set of its inputs changed"
        return
    before, now = [file["path"] for file in record["inputs"]], list(map(shown, job.input))
    new = [path for path in now if path not in before]
    gone = [path for path in before if path not in now]
    for paths, what in ((new, "is new"), (gone, "is read no more")):
        if paths:
            yield files("input", what, paths)


def files(kind: str, what: str, paths: Iterable[str]) -> str:
    """Say one thing of files: `input a.parquet is new`, `inputs a, b, c and 4 more are new`."""
    paths = [shown(str(path)) for path in paths]
    if len(paths) == 1:
        return f"{kind} {paths[0]} {what}"
    listed = paths if len(paths) <= LISTED + 1 else paths[:LISTED]
    names = [*listed, f"{len(paths) - len(listed)} more"] if len(listed) < len(paths) else listed
    verb, _, rest = what.partition(" ")
    plural = {"is": "are", "has": "have"}.get(verb, verb)
    kind = kind if kind.endswith(":") else f"{kind}s"
    return (
        f"{kind} {', '.join(names[:-1])} and {names[-1]} {' '.join(filter(None, [plural, rest]))}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
