"""Leases: locks that all users of a machine see, and that the kernel frees whatever ends a process.

A lease is a lock on an empty file in one folder for everybody. Nothing there is written, followed
or removed: whoever a file belongs to, it is opened to be locked and for nothing else.
"""

import fcntl
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.reduction import DupFd
from pathlib import Path

from workflow_scripts.common.errors import InputError

log = logging.getLogger("synthorax")  # common/runtime.py gives it its handlers
# Not where TMPDIR points, which differs between users and between jobs.
FOLDER = Path("/tmp/synthorax-gpus")
# No link is followed, and a pipe in a file's place is not waited for.
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK

HELD: list["Lease"] = []  # by this process


class Lease:
    """A lock on an open file, held until each process that was given it has released it or ended.

    No process inherits it, not even a fork: what outlives a job keeps nobody from its device. A
    process that computes on the device too is given the lease as an argument (of multiprocessing,
    start method "spawn").
    """

    def __init__(self, descriptor: int):
        self.descriptor = descriptor
        HELD.append(self)

    def release(self) -> None:
        HELD.remove(self)
        os.close(self.descriptor)  # without unlocking, which would be for all that have it

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def __reduce__(self) -> tuple:
        return received, (DupFd(self.descriptor),)


def received(handed: object) -> Lease:
    """Return a lease that another process gave to this one."""
    descriptor = handed.detach()
    os.set_inheritable(descriptor, False)
    return Lease(descriptor)


def leave_to_parent() -> None:
    """Close a fork's copies of the leases of its parent."""
    while HELD:
        HELD[-1].release()


os.register_at_fork(after_in_child=leave_to_parent)


@contextmanager
def leased(
    names: list[str], count: int = 1, pause: float = 1.0, patience: float = 600.0
) -> Iterator[list[int]]:
    """Wait until `count` of the named devices are free, and yield their positions while held.

    Who wants several takes them at once or none, and keeps nobody from what it cannot use yet. But
    if others leave it too few together for too long, it keeps from then on what it gets.

    Parameters
    ----------
    names : of devices, the same to every process on the machine
    pause : seconds between two looks
    patience : seconds after which one who wants several keeps what it gets

    Raises
    ------
    InputError
        If something else stands where the locks belong.
    """
    waiting = waits(f"fewer than {count} of the {len(names)} visible GPUs are free: waiting", pause)
    while not (folder := open_folder()):
        next(waiting)
    with folder, ExitStack() as held:
        positions: list[int] = []
        with ExitStack() as turn:
            # Two that each kept a half would wait for ever: so one after the other, and in the same
            # order for all, whatever they see.
            for name in sorted(names) if count > 1 else ():
                while not (place := open_lock(folder, f"{name}.several.lock")):
                    next(waiting)
                turn.enter_context(place)
            begun = time.monotonic()
            while True:
                for position, name in enumerate(names):
                    if (
                        len(positions) < count
                        and position not in positions
                        and (lease := open_lock(folder, f"{name}.lock"))
                    ):
                        held.enter_context(lease)
                        positions.append(position)
                if len(positions) == count:
                    break
                if time.monotonic() < begun + patience:
                    held.close()
                    positions.clear()
                next(waiting)
        yield sorted(positions)


def waits(why: str, pause: float) -> Iterator[None]:
    """Say once why, and wait a little each time that one is asked for the next."""
    log.info("%s", why)
    while True:
        time.sleep(pause)
        yield


def open_folder() -> Lease | None:
    """Open the folder of the locks; whoever comes first makes it, for everybody.

    It is locked too, shared by all who use it: what clears old files out of /tmp (systemd-tmpfiles)
    passes over a locked folder. None: not yet.
    """
    with suppress(FileExistsError), no_umask():
        FOLDER.mkdir(0o1777)
    try:
        descriptor = os.open(FOLDER, READ | os.O_DIRECTORY)
    except FileNotFoundError:  # removed again
        return None
    except OSError as error:
        raise unusable(FOLDER, error.strerror) from None
    if os.fstat(descriptor).st_mode & 0o1777 != 0o1777:  # or some could not lock, or all remove
        raise unusable(FOLDER, "not everybody's, as /tmp is (mode 1777)")
    return locked(descriptor, fcntl.LOCK_SH, FOLDER.lstat)


def open_lock(folder: Lease, name: str) -> Lease | None:
    """Open and lock a file of the folder, made if there is none; None if another process has it."""
    # Made and opened apart: the kernel may refuse to open another user's file with O_CREAT.
    with suppress(FileExistsError), no_umask():
        os.close(os.open(name, READ | os.O_CREAT | os.O_EXCL, 0o444, dir_fd=folder.descriptor))
    try:
        descriptor = os.open(name, READ, dir_fd=folder.descriptor)
    except FileNotFoundError:  # removed again
        return None
    except OSError as error:
        raise unusable(FOLDER / name, error.strerror) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise unusable(FOLDER / name, "no file")
    return locked(
        descriptor,
        fcntl.LOCK_EX,
        lambda: os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False),
    )


def locked(descriptor: int, how: int, standing: Callable[[], os.stat_result]) -> Lease | None:
    """Lock an open file; None if another process has it, or no longer stands where others look."""
    with suppress(BlockingIOError, FileNotFoundError):
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), standing()):
            return Lease(descriptor)
    os.close(descriptor)
    return None


@contextmanager
def no_umask() -> Iterator[None]:
    """Make files with the very mode that is asked for."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def unusable(path: Path, why: str) -> InputError:
    """Return the error of something else that stands where the locks belong."""
    return InputError(
        f"{path}, where GPUs are leased, cannot be used: {why}. Whoever put it there has to remove "
        "it; it is made anew."
    )
