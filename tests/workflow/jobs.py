"""Print the jobs of a plan as JSON: `python -m tests.workflow.jobs [as for snakemake]`."""

import json
import sys
from pathlib import PurePosixPath

from snakemake.dag import DAG

from workflow_scripts.trail.why import planned


def show(dag: DAG) -> None:
    """Print every rule that runs a script, and every job of the plan."""
    rules = [rule for rule in dag.workflow.rules if not rule.norun]
    jobs = [
        {
            "rule": job.rule.name,
            "step": str(PurePosixPath(job.rule.script.removeprefix("../")).with_suffix("")),
            "params": dict(job.params.items()),
            "kinds": {name: type(value).__name__ for name, value in job.params.items()},
            "input": list(job.input),
            "log": list(job.log),
            "benchmark": job.benchmark,
            "flags": sorted({flag for file in [*job.input, *job.output] for flag in file.flags}),
            "wildcards": sorted(job.wildcards_dict),
            "captions": sorted(
                file.flags["report"].caption.get_path_or_uri(secret_free=True)
                for file in job.output
                if "report" in file.flags
            ),
            "retries": job.rule.restart_times,
        }
        for job in sorted(dag.jobs, key=str)
        if not job.rule.norun
    ]
    print("JOBS", json.dumps({"rules": sorted(rule.name for rule in rules), "jobs": jobs}))


if __name__ == "__main__":
    sys.exit(not planned(sys.argv[1:], show))
