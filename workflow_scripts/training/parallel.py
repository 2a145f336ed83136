"""Several processes that train as one, each on its own device; and how a training is stopped.

Each process sees its part of every batch; gradients are averaged by Fabric's DDP. Parent and
children speak through signals and one queue; the children agree among themselves when to stop.
"""

import logging
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import wait

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.plugins.environments.lightning import find_free_network_port

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.leases import HELD, Lease
from workflow_scripts.common.precision import use_tf32
from workflow_scripts.common.runtime import remedy

GRACE = 30.0  # seconds that the others have to leave once one process has failed
AGREE_EVERY = 10  # steps
LONGEST = 8000  # characters of a message: a pipe takes in 64 kB that nobody reads yet


def launch(
    function: Callable[..., object], devices: list[torch.device], bf16: bool, *arguments: object
) -> None:
    """Call `function(fabric, *arguments)`: here for one device, in a process each for several.

    Parameters
    ----------
    function : of a module, not of a script: the processes import it. What it has to give it writes
        to a file.
    devices : distinct GPUs, or the CPU as often as there are to be processes
    bf16 : compute in bfloat16 where that is safe
    arguments : what can be pickled

    Raises
    ------
    InputError
        As raised in any of the processes; or if one of them was killed or could not write a file.
    """
    if len(devices) == 1:
        function(make_fabric(devices, bf16), *arguments)
        return
    context = multiprocessing.get_context("spawn")
    messages = context.SimpleQueue()
    port = find_free_network_port()
    common = (port, messages, function, devices, bf16, arguments, list(HELD))
    processes = [
        context.Process(target=work, args=(rank, *common), name=f"process {rank}")
        for rank in range(len(devices))
    ]
    with StopSignal() as stop:
        for process in processes:
            process.start()
        failed = supervise(processes, stop)
    if not messages.empty():
        kind, text = messages.get()
        raise InputError(text) if kind == "input" else RuntimeError(text)
    if failed and stop.received:
        raise InputError(
            f"the training was stopped by {stop.received} before its processes could answer. Run "
            "the same command again."
        )
    if failed:
        raise InputError(
            f"{failed.name} of the training ended with exit code {failed.exitcode}; −9 means that it "
            "was killed, as happens where memory runs out. Run the same command again to go on from "
            "the last state that was saved."
        )


def supervise(
    processes: list[multiprocessing.Process], stop: "StopSignal"
) -> multiprocessing.Process | None:
    """Wait for all processes, pass a request to stop on, and return the first that failed."""
    failed, deadline = None, None
    while alive := [process for process in processes if process.is_alive()]:
        wait([process.sentinel for process in alive], timeout=1.0)
        if stop.received:  # again and again: one that is still starting may not have noticed
            for process in alive:
                process.terminate()
        if failed is None:
            failed = next((process for process in processes if process.exitcode), None)
            deadline = time.monotonic() + GRACE
        elif time.monotonic() > deadline:
            for process in alive:  # it waits for one that is gone
                process.kill()
    return failed or next((process for process in processes if process.exitcode), None)


def work(
    rank: int,
    port: int,
    messages: multiprocessing.SimpleQueue,
    function: Callable[..., object],
    devices: list[torch.device],
    bf16: bool,
    arguments: tuple,
    leases: list[Lease],
) -> None:
    """Be process `rank`: call the function, and tell the parent what went wrong if anything did.

    `leases` are those of the devices, which stay held if the parent ends first.
    """
    # Ignored but where the function has its own handlers: the parent repeats a signal until this
    # process is gone, and Python takes handlers away before it ends, but leaves this.
    for number in StopSignal.SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    # Whatever a cluster or a launcher says of other processes is not about these.
    os.environ |= {
        "LOCAL_RANK": str(rank),
        "NODE_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    if devices[rank].type == "cpu":
        torch.set_num_threads(max(1, torch.get_num_threads() // len(devices)))
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    try:
        function(make_fabric(devices, bf16), *arguments)
    except Exception as error:
        advice = str(error) if isinstance(error, InputError) else remedy(error)
        if "EADDRINUSE" in str(error):  # it was free when the parent looked
            advice = f"another program has taken port {port}. Run the same command again."
        if advice:
            messages.put(("input", advice[-LONGEST:]))
        else:
            text = traceback.format_exc()[-LONGEST:]
            messages.put(("defect", f"in process {rank}:\n{text}"))
        raise SystemExit(1) from None


def make_fabric(devices: list[torch.device], bf16: bool) -> Fabric:
    """Return Fabric on these devices, ready to set up models."""
    cuda = devices[0].type == "cuda"
    if cuda:
        torch.backends.cudnn.benchmark = True  # few shapes, each many times
    use_tf32(bf16)
    fabric = Fabric(
        accelerator=devices[0].type,
        devices=[device.index for device in devices] if cuda else len(devices),
        strategy="ddp" if len(devices) > 1 else "auto",
        precision="bf16-mixed" if bf16 else "32-true",
        plugins=[LightningEnvironment()],
    )
    fabric.launch()
    return fabric


class Agreement:
    """What several processes decide together, now and then; one alone decides at every step.

    They speak over a channel between the hosts, so that no GPU is waited for.
    """

    def __init__(self, fabric: Fabric):
        alone = fabric.world_size == 1
        self.group = None if alone else torch.distributed.new_group(backend="gloo")

    def reached(self, step: int, *flags: int) -> list[int]:
        """Return the greatest of each flag over all processes; 0 at steps between agreements."""
        if self.group is None:
            return list(flags)
        if step % AGREE_EVERY:
            return [0] * len(flags)
        values = torch.tensor(flags)
        torch.distributed.all_reduce(values, torch.distributed.ReduceOp.MAX, self.group)
        return values.tolist()


class StopSignal:
    """Notes a request to stop, so that the loop can save and leave between two steps.

    SIGINT comes from Ctrl-C, SIGTERM from a person, a time limit or a parent. SIGURG is the one
    warning that SLURM can send ahead of a limit without Snakemake taking it for its own. That the
    parent of a child process has gone counts as SIGTERM.

    Attributes
    ----------
    number : the signal, or 0
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGURG)

    def __enter__(self) -> "StopSignal":
        self.noted = 0
        self.parent = multiprocessing.parent_process()
        self.previous = {s: signal.signal(s, self.note) for s in self.SIGNALS}
        return self

    def note(self, number: int, frame: object) -> None:
        self.noted = number

    @property
    def number(self) -> int:
        orphaned = self.parent is not None and not self.parent.is_alive()
        return self.noted or (signal.SIGTERM if orphaned else 0)

    @property
    def received(self) -> str | None:
        """The signal's name, or None."""
        return signal.Signals(self.number).name if self.number else None

    def __exit__(self, *error: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
