"""The device a job computes on.

On one machine Snakemake only counts GPUs: two jobs with `gpu=1` would both land on device 0. A
job therefore leases its device through a lock file, which the kernel frees when the process ends,
however it ends. Locks are named by the hardware: under SLURM, which shows each job its own devices
alone, every job calls its own device 0, and the lease succeeds at once.
"""

import getpass
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.runtime import log


@contextmanager
def leased_device(wanted: str) -> Iterator[torch.device]:
    """Yield the device to compute on, held for this process alone while the block runs.

    Parameters
    ----------
    wanted : "auto" (a GPU where there is one, else the CPU), "cuda" or "cpu"

    Raises
    ------
    InputError
        If the configuration asks for CUDA and no device is visible, or the folder of the locks is
        somebody else's.
    """
    count = torch.cuda.device_count() if wanted != "cpu" else 0
    if wanted == "cuda" and not count:
        raise InputError(
            "the configuration says `device: cuda`, but PyTorch sees no CUDA device here. Check the "
            "driver and CUDA_VISIBLE_DEVICES, or set `device: auto` to use the CPU."
        )
    if not count:
        log.info("computing on the CPU (%d threads)", torch.get_num_threads())
        yield torch.device("cpu")
        return
    lock, index = lease(count)
    with lock:
        device = torch.device("cuda", index)
        torch.cuda.set_device(device)
        log.info("computing on %s (%s)", device, torch.cuda.get_device_name(device))
        yield device


def lease(count: int, pause: float = 1.0) -> tuple[FileLock, int]:
    """Wait for one of `count` visible devices and return its held lock and its index."""
    folder = Path(tempfile.gettempdir()) / f"synthorax-gpus-{getpass.getuser()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != os.getuid():
        raise InputError(
            f"{folder}, where GPUs are leased, belongs to another user; have it removed, or set "
            "TMPDIR to a folder of your own."
        )
    names = physical_names(count)
    waited = False
    while True:
        for index, name in enumerate(names):
            lock = FileLock(folder / f"{name}.lock")
            try:
                lock.acquire(timeout=0)
                return lock, index
            except Timeout:
                continue
        if not waited:
            log.info("all %d visible GPUs are leased by other jobs: waiting", count)
            waited = True
        time.sleep(pause)


def physical_names(count: int) -> list[str]:
    """Name the visible devices as every process on the machine names them, whatever it sees."""
    return [str(torch.cuda.get_device_properties(index).uuid) for index in range(count)]
