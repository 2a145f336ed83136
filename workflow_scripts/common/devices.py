"""The devices a job computes on.

On one machine Snakemake only counts GPUs: two jobs with `gpu=1` would both land on device 0. A
job therefore leases its devices. Leases are named by the hardware: under SLURM, which shows each
job its own devices alone, every job calls its own device 0, and the lease succeeds at once.
"""

import os
import shutil
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.utils._triton import has_triton

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.leases import leased
from workflow_scripts.common.runtime import log


@contextmanager
def leased_device(wanted: str) -> Iterator[torch.device]:
    """Yield the one device to compute on, as `leased_devices` does."""
    with leased_devices(wanted) as (device,):
        yield device


@contextmanager
def leased_devices(
    wanted: str, count: int = 1, allowed: int | None = None
) -> Iterator[list[torch.device]]:
    """Yield `count` devices to compute on, held for this process alone while the block runs.

    Parameters
    ----------
    wanted : "auto" (GPUs where there are any, else the CPU), "cuda" or "cpu"
    count : how many; on the CPU, which all share, the same device so many times
    allowed : GPUs that Snakemake counts for this job, which it lowers to what the run has; None:
        not known

    Raises
    ------
    InputError
        If the configuration asks for CUDA and no device is visible, or for more devices than are or
        than the run allows; or if something else stands where the locks belong.
    """
    # With a driver too old for PyTorch, devices are counted that cannot be used.
    usable = wanted != "cpu" and torch.cuda.is_available()
    visible = torch.cuda.device_count() if usable else 0
    if wanted == "cuda" and not visible:
        raise InputError(
            "the configuration says `device: cuda`, but PyTorch can use no CUDA device here. Check the "
            "driver and CUDA_VISIBLE_DEVICES, or set `device: auto` to use the CPU."
        )
    if not visible:
        why = "" if wanted == "cpu" else ": PyTorch can use no CUDA device here"
        log.info("computing on the CPU (%d threads)%s", torch.get_num_threads(), why)
        yield [torch.device("cpu")] * count
        return
    if count > visible:
        raise InputError(
            f"the configuration asks for {count} GPUs at once, but PyTorch sees {visible} here. "
            "Lower `gpus` of the model, or check CUDA_VISIBLE_DEVICES and what the job was given."
        )
    if allowed is not None and count > allowed:
        raise InputError(
            f"the configuration asks for {count} GPUs at once (`gpus` of the model), but this run "
            f"allows {allowed}: give --resources gpu={count}, or lower `gpus`."
        )
    with leased(physical_names(visible), count) as indices:
        devices = [torch.device("cuda", index) for index in indices]
        torch.cuda.set_device(devices[0])
        names = [f"{device} ({torch.cuda.get_device_name(device)})" for device in devices]
        log.info("computing on %s", ", ".join(names))
        yield devices


def can_compile(device: torch.device) -> bool:
    """Whether `torch.compile` has what it needs.

    A GPU that Triton knows, a C compiler, and the headers of Python.
    """
    compiler = os.environ.get("CC") or shutil.which("clang") or shutil.which("gcc")
    header = Path(sysconfig.get_paths()["include"], "Python.h")
    return device.type == "cuda" and has_triton() and bool(compiler) and header.is_file()


def physical_names(count: int) -> list[str]:
    """Name the visible devices as every process on the machine names them, whatever it sees.

    A part of a GPU (MIG) is named as in CUDA_VISIBLE_DEVICES, since the other name may be that of the
    whole GPU.
    """
    given = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    parts = {n: name.replace("/", "-") for n, name in enumerate(given) if name.startswith("MIG-")}
    return [
        parts.get(index) or str(torch.cuda.get_device_properties(index).uuid)
        for index in range(count)
    ]
