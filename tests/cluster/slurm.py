"""A real SLURM on this machine: one node that poses as more than it is, and two GPUs that are none."""

import os
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
CPUS, MEMORY, GPUS = 8, 400_000, 2  # as the node claims; MB
BETWEEN_FIELDS = re.compile(r" +(?=[A-Z][\w/:]*=)")  # a folder may have spaces in its name

CONFIGURATION = """
ClusterName=synthorax
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
# Nobody else on the network is spoken to.
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MpiDefault=none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
TaskProlog={folder}/prolog
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1,sched_min_interval=0
ReturnToService=2
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MinJobAge=3600
KillWait=5
GresTypes=gpu,room
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:a100:{gpus},room:1 State=UNKNOWN
PartitionName=DEFAULT Nodes={host} MaxTime=INFINITE State=UP
PartitionName=cpu Default=YES PriorityTier=5 PreemptMode=OFF
PartitionName=gpu PriorityTier=5 PreemptMode=OFF
# What runs in `spare` makes room for `urgent`.
PartitionName=spare PriorityTier=1 PreemptMode=REQUEUE
PartitionName=urgent PriorityTier=9 PreemptMode=OFF
"""


class Absent(Exception):
    """Why there can be no SLURM here."""


class Slurm:
    """A running cluster: what its commands say, and a way to wait.

    Attributes
    ----------
    environment : variables with which the commands of SLURM, and Snakemake, speak to this cluster
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = os.environ | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        }

    def call(self, *command: object, check: bool = True) -> str:
        """Return what a command of SLURM prints."""
        done = subprocess.run(
            [str(part) for part in command],
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=30,
            check=False,
        )
        if check and done.returncode:
            raise RuntimeError(f"{shlex.join(map(str, command))}: {done.stderr or done.stdout}")
        return done.stdout

    def jobs(self, **wanted: str) -> list[dict[str, str]]:
        """Return what SLURM knows of every job, in the order of submission: by scontrol's names.

        Given `Comment="rule_x"` and so on, only the jobs of which that is true.
        """
        lines = self.call("scontrol", "--oneliner", "--details", "show", "job").splitlines()
        jobs = [
            dict(part.split("=", 1) for part in BETWEEN_FIELDS.split(line.strip()))
            for line in lines
            if line.startswith("JobId=")
        ]
        jobs = [job for job in jobs if all(job.get(key) == wanted[key] for key in wanted)]
        return sorted(jobs, key=lambda job: int(job["JobId"]))

    def job(self, number: str) -> dict[str, str]:
        """Return what SLURM knows of one job."""
        return self.jobs(JobId=number)[0]

    def queue(self) -> list[str]:
        """Return the jobs that wait, run or end."""
        return self.call("squeue", "--noheader", "--format=%i %T %k").splitlines()

    def devices(self) -> dict[str, str]:
        """Return what CUDA_VISIBLE_DEVICES was to each job that ran, by job."""
        file = self.folder / "devices"
        lines = file.read_text().splitlines() if file.exists() else []
        return dict(line.split(" ", 1) for line in lines)


def until(what: str, condition: Callable[[], T], seconds: float = 120, pause: float = 0.2) -> T:
    """Wait until a condition is true, and return what it gave.

    Raises
    ------
    TimeoutError
        If it is not true in time; it says `what` was waited for.
    """
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:.0f} s in vain until {what}")
        time.sleep(pause)
    return found


@contextmanager
def running_slurm():
    """Start a SLURM of its own, yield it, and stop it with everything that runs in it.

    Nothing outside a temporary folder is touched: an `srun` of our own, first in PATH, names the
    configuration, which a job step otherwise looks for in /etc/slurm.

    Raises
    ------
    Absent
        If its programs are not installed.
    """
    missing = [name for name in PROGRAMS if not find(name)]
    if missing:
        raise Absent(f"no SLURM on this machine (Debian: slurm-wlm, munge): {', '.join(missing)}")
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    daemons: list[subprocess.Popen] = []
    try:
        slurm = configure(folder)
        start = [
            [find("munged"), "--foreground", "--force", "--num-threads=2",
             f"--socket={folder}/munge.socket", f"--key-file={folder}/munge.key",
             f"--pid-file={folder}/munge.pid", f"--seed-file={folder}/munge.seed",
             f"--log-file={folder}/munge.log"],
            [find("slurmctld"), "-D", "-f", folder / "slurm.conf"],
            [find("slurmd"), "-D", "-f", folder / "slurm.conf"],
        ]  # fmt: skip
        for command in start:
            with (folder / "daemons.log").open("ab") as log:
                daemons.append(
                    subprocess.Popen(
                        list(map(str, command)),
                        env=slurm.environment,
                        cwd=folder,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
            if command is start[0]:
                until("munged answers", (folder / "munge.socket").exists, 20)
        until("the node is idle", lambda: idle(slurm, daemons), 60)
        yield slurm
    finally:
        with suppress(Exception):
            slurm.call("scancel", "--full", *[line.split()[0] for line in slurm.queue()])
            until("the queue is empty", lambda: not slurm.queue(), 20)
        for daemon in reversed(daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(folder, ignore_errors=True)


def find(program: str) -> str | None:
    """Return the path of a program; daemons are not in everybody's PATH."""
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def idle(slurm: Slurm, daemons: list[subprocess.Popen]) -> bool:
    """Whether the node can take jobs. A daemon that has ended is an error, with what it wrote."""
    if any(daemon.poll() is not None for daemon in daemons):
        logs = [path.read_text()[-2000:] for path in sorted(slurm.folder.glob("*.log"))]
        raise RuntimeError("a daemon has ended:\n" + "\n".join(logs))
    return slurm.call("sinfo", "--noheader", "--format=%T", check=False).split()[:1] == ["idle"]


def configure(folder: Path) -> Slurm:
    """Write the configuration of a cluster into a folder."""
    folder.chmod(0o755)  # munged wants its socket to be within reach
    for name in ("state", "spool", "bin", "dev"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    for number in range(GPUS):
        (folder / "dev" / f"nvidia{number}").symlink_to("/dev/null")
    (folder / "gres.conf").write_text(
        f"AutoDetect=off\nName=gpu Type=a100 File={folder}/dev/nvidia[0-{GPUS - 1}]\n"
        "Name=room Count=1\n"
    )
    controller_port, node_port = free_ports(2)
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(
            folder=folder,
            host=socket.gethostname().split(".")[0],
            user=subprocess.check_output(["id", "-un"], text=True).strip(),
            controller_port=controller_port,
            node_port=node_port,
            cpus=CPUS,
            memory=MEMORY,
            gpus=GPUS,
        )
    )
    script(folder / "prolog", f'echo "$SLURM_JOB_ID $CUDA_VISIBLE_DEVICES" >> {folder}/devices')
    script(folder / "bin/srun", f'SLURM_CONF={folder}/slurm.conf exec {find("srun")} "$@"')
    return Slurm(folder)


def script(path: Path, text: str) -> None:
    """Write a shell script."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
