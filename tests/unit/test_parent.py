"""A step does not outlive its Snakemake."""

import os
import signal
import subprocess
import sys

from workflow_scripts.common.parent import PROCESS

STEP = """
import signal
from workflow_scripts.common.parent import end_with_snakemake
end_with_snakemake()
print("working", flush=True)
signal.pause()
"""


def start(root, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", STEP],
        cwd=root,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_step_ends_with_its_snakemake_however_that_ends_and_not_before(root):
    snakemake = subprocess.Popen(["sleep", "60"])
    step, other = start(root, **{PROCESS: str(snakemake.pid)}), start(root)
    for process in (step, other):
        assert process.stdout.readline() == "working\n"
        assert process.poll() is None
    snakemake.kill()  # a zombie until somebody asks for it
    assert step.wait(timeout=60) == -signal.SIGTERM
    assert other.poll() is None, "this one works for nobody"
    other.kill()
    for process in (step, other, snakemake):
        process.communicate()


def test_a_step_whose_snakemake_ended_while_it_was_starting_ends(root):
    snakemake = subprocess.Popen(["true"])
    snakemake.wait()
    step = start(root, **{PROCESS: str(snakemake.pid)})
    assert step.wait(timeout=60) == -signal.SIGTERM
    step.communicate()
