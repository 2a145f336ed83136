"""Two runs on one machine share its GPUs, whatever `--resources gpu=…` each was given."""

import itertools
import json
import os
import subprocess
import sys
from collections import defaultdict

# Snakemake only counts: the first run counts more GPUs than the machine has, the second one fewer.
RULES = """
rule all:
    input:
        expand("{name}.done", name=config["names"].split())

rule compute:
    output:
        "{name}.done"
    resources:
        gpu=lambda w: 2 if w.name.startswith("two") else 1,
        none=1
    shell:
        "{config[python]} {config[program]} {config[shared]} {resources.gpu} && "
        "echo {resources.none} > {output}"
"""
PROGRAM = """
import json, os, pathlib, sys, time
from workflow_scripts.common import leases
shared = pathlib.Path(sys.argv[1])
leases.FOLDER = shared / "locks"
events = os.open(shared / "events", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def note(event, taken):
    line = json.dumps([time.monotonic_ns(), os.getpid(), event, taken])
    os.write(events, f"{line}\\n".encode())
with leases.leased(["a", "b"], int(sys.argv[2]), pause=0.02) as taken:
    note("taken", taken)
    time.sleep(0.2)
    note("left", taken)
"""


def test_jobs_of_two_runs_never_share_a_device_and_all_finish(root, tmp_path):
    (tmp_path / "rules").write_text(RULES)
    (tmp_path / "program.py").write_text(PROGRAM)
    shared = {"python": sys.executable, "program": tmp_path / "program.py", "shared": tmp_path}
    runs = []
    for folder, gpus, names in (
        ("first", 3, "one_a two_b one_c two_d"),
        ("second", 1, "one_e one_f"),
    ):
        config = [f"{key}={value}" for key, value in {**shared, "names": names}.items()]
        command = [sys.executable, "-m", "snakemake", "--snakefile", tmp_path / "rules"]
        command += ["--directory", tmp_path / folder, "--cores", "4", "--quiet"]
        command += ["--resources", f"gpu={gpus}", "none=0", "--config", *config]
        runs.append(
            subprocess.Popen(
                [str(part) for part in command],
                cwd=tmp_path,
                env=os.environ | {"PYTHONPATH": str(root)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    for run in runs:
        said, _ = run.communicate(timeout=300)
        assert run.returncode == 0, said
    spans = defaultdict(list)
    begun = {}
    for line in (tmp_path / "events").read_text().splitlines():
        when, job, event, taken = json.loads(line)
        for device in taken:
            if event == "taken":
                begun[job, device] = when
            else:
                spans[device].append((begun.pop((job, device)), when))
    assert not begun and sum(map(len, spans.values())) == 4 * 1 + 2 * 2
    for found in spans.values():
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(sorted(found)))
    # A job that asks for what the run does not allow gets none of it, rather than waiting.
    assert {path.read_text().strip() for path in tmp_path.glob("*/*.done")} == {"0"}
