"""The Snakemake that a step works for: when that is gone, so is the step."""

import os
import select
import signal
import threading
import time

PROCESS = "SYNTHORAX_SNAKEMAKE"  # set by rules/common.smk


def end_with_snakemake() -> None:
    """End this process when its Snakemake ends, by SIGTERM, on which a training saves its state.

    A Snakemake that is killed leaves its jobs running; they would write beside those of the next one,
    which may have another configuration. Needs Linux; elsewhere they go on.
    """
    number = os.environ.get(PROCESS)
    if number and hasattr(os, "pidfd_open"):
        threading.Thread(target=wait_for, args=(int(number),), daemon=True).start()


def wait_for(process: int) -> None:
    """Wait for the end of a process, then end this one.

    Again and again: a training that has just made its last step notes the first request and goes on.
    """
    try:
        select.select([os.pidfd_open(process)], [], [])
    except ProcessLookupError:  # it ended while this one was starting
        pass
    except OSError:  # a kernel before 5.3
        return
    while True:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1.0)
