"""Leases: each for one process at a time, several at once or none, free when their holder dies."""

import fcntl
import itertools
import json
import multiprocessing
import multiprocessing.connection
import os
import random
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path

import pytest

from workflow_scripts.common import leases
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.leases import leased

FORK = multiprocessing.get_context("fork")
SPAWN = multiprocessing.get_context("spawn")
QUICK = {"pause": 0.01, "patience": 60.0}
NOBODY = 65534


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the locks of a test are."""
    monkeypatch.setattr(leases, "FOLDER", tmp_path / "locks")
    return tmp_path / "locks"


@pytest.fixture
def start():
    """Start a fork of this process; all are killed at the end."""
    started = []

    def start(function, *arguments):
        process = FORK.Process(target=function, args=arguments)
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()


def hold(names, count, pipe, options=QUICK):
    """Lease devices, say which, and keep them until told to leave."""
    with leased(names, count, **options) as positions:
        pipe.send([names[position] for position in positions])
        pipe.recv()
    pipe.send("left")


@pytest.fixture
def holder(folder, start):
    """Start a process that leases devices; its pipe says which, and takes the word to leave."""

    def holder(names, count=1, options=QUICK):
        here, there = FORK.Pipe()
        here.process = start(hold, names, count, there, options)
        return here

    return holder


def said(pipe, seconds=20):
    """Return what a process says, or None if it says nothing."""
    return pipe.recv() if pipe.poll(seconds) else None


def is_free(name):
    """Whether nobody holds a device."""
    with leases.open_folder() as folder:
        found = leases.open_lock(folder, f"{name}.lock")
        if found:
            found.release()
        return found is not None


def until(condition, seconds=20):
    """Wait until something holds, and say whether it came to."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


# -- who gets what ---------------------------------------------------------------------------------


def test_each_gets_another_device_and_whoever_is_killed_frees_its_own(holder):
    first, second = holder(["a", "b"]), holder(["a", "b"])
    taken = said(first) + said(second)
    assert sorted(taken) == ["a", "b"]
    third = holder(["a", "b"])
    assert said(third, 0.3) is None
    first.process.kill()
    assert said(third) == taken[:1]


def test_one_that_leaves_makes_room(holder):
    first = holder(["a"])
    assert said(first) == ["a"]
    second = holder(["a"])
    assert said(second, 0.2) is None
    first.send("leave")
    assert said(second) == ["a"]


def test_who_waits_for_several_keeps_nobody_from_what_it_cannot_use_yet(holder):
    one = holder(["a", "b"])
    assert said(one) == ["a"]
    two = holder(["a", "b"], 2)
    assert said(two, 0.2) is None
    other = holder(["a", "b"])
    assert said(other) == ["b"]
    other.send("leave")
    one.process.kill()
    assert said(two) == ["a", "b"]


def test_who_waits_for_several_for_long_keeps_what_it_gets(holder):
    """Two devices are never free together, and yet a job gets both."""
    one, other = holder(["a", "b"]), holder(["a", "b"])
    taken = said(one) + said(other)
    both = holder(["a", "b"], 2, QUICK | {"patience": 0.0})
    assert said(both, 0.1) is None
    other.send("leave")
    assert said(other) == "left"
    assert until(lambda: not is_free(taken[1]))
    third = holder(["a", "b"])
    assert said(third, 0.3) is None
    third.process.kill()
    one.send("leave")
    assert said(both) == ["a", "b"]


def test_two_that_want_several_in_other_orders_do_not_wait_for_each_other_for_ever(holder):
    with leases.open_folder() as folder, leases.open_lock(folder, "a.several.lock"):
        waiting = [holder(["a", "b"], 2), holder(["b", "a"], 2, QUICK | {"pause": 1.0})]
        assert multiprocessing.connection.wait(waiting, 0.3) == []
    # The quick one now comes to its turn at "a" first, and must not meet the slow one at "b".
    for _ in range(2):
        (first,) = multiprocessing.connection.wait(waiting, 20)
        assert sorted(first.recv()) == ["a", "b"]
        waiting.remove(first)
        first.send("leave")


def compete(number, wants, log, seed):
    """Lease again and again, and write down when which; whoever wants None waits to be killed."""
    chance = random.Random(seed)
    line = os.open(log, os.O_WRONLY | os.O_APPEND)

    def note(event, taken):
        text = json.dumps([time.monotonic_ns(), number, event, taken])
        os.write(line, f"{text}\n".encode())

    for want in wants:
        names = list("abc")
        chance.shuffle(names)  # each sees the devices in another order
        with leased(names, want or 1, pause=0.003, patience=chance.choice([0, 0.05, 60])) as found:
            taken = [names[position] for position in found]
            note("taken", taken)
            if want is None:
                time.sleep(600)
            time.sleep(chance.uniform(0, 0.01))
            note("left", taken)
    note("done", [])


def test_twelve_that_compete_and_are_killed_never_share_a_device_and_all_finish(
    folder, start, tmp_path
):
    log = tmp_path / "events"
    log.touch()
    victims = {2: [1, None], 5: [2, 1, None], 7: [None], 9: [3, None]}
    wants = {number: [1, 2, 1, 3, 2, 1] for number in range(12)} | victims
    processes = [start(compete, number, wants[number], log, number) for number in range(12)]
    killed = {}

    def events():
        return [json.loads(line) for line in log.read_text().splitlines()]

    def all_done():
        found = events()
        for number, leases_taken in Counter(e[1] for e in found if e[2] == "taken").items():
            if number not in killed and leases_taken == len(victims.get(number, ())):
                killed[number] = time.monotonic_ns()  # it holds the device at least until now
                os.kill(processes[number].pid, signal.SIGKILL)
        return {e[1] for e in found if e[2] == "done"} == set(wants) - set(victims)

    assert until(all_done, 60), events()[-20:]
    assert set(killed) == set(victims)
    spans = defaultdict(list)
    begun = {}
    for when, number, event, taken in events():
        for device in taken:
            if event == "taken":
                begun[number, device] = when
            else:
                spans[device].append((begun.pop((number, device)), when))
    for (number, device), when in begun.items():  # of those that were killed
        spans[device].append((when, killed[number]))
    assert sum(map(len, spans.values())) == 8 * 10 + 2 + 4 + 1 + 4
    for device in "abc":
        ordered = sorted(spans[device])
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(ordered)), device


# -- what outlives a job ---------------------------------------------------------------------------


def beget(pipe, other):
    """Lease a device and start processes: one that is given the lease, and two that are not."""
    with leased(["a"], **QUICK):
        given = SPAWN.Process(target=compute, args=(other, list(leases.HELD)))
        given.start()
        fork = FORK.Process(target=time.sleep, args=(600,))
        fork.start()
        pipe.send([given.pid, fork.pid, run_a_program()])
        time.sleep(600)


def compute(pipe, held):
    """Compute on the device of a lease, with a program's help."""
    pipe.send([run_a_program()])
    time.sleep(600)


def run_a_program():
    """Start a program that inherits what can be inherited; return its process."""
    return subprocess.Popen(["sleep", "600"], close_fds=False).pid


def test_a_device_stays_held_by_who_computes_on_it_and_by_nobody_else(folder, start):
    (of_parent, theirs), (of_child, childs) = FORK.Pipe(), FORK.Pipe()
    parent = start(beget, theirs, childs)
    given, *others = said(of_parent)
    try:
        others += said(of_child)
        assert holders(folder / "a.lock") == {parent.pid, given}
        os.kill(parent.pid, signal.SIGKILL)
        parent.join()
        assert not is_free("a")
        os.kill(given, signal.SIGKILL)
        assert until(lambda: is_free("a"))
        for pid in others:
            os.kill(pid, 0)  # still there
    finally:
        for pid in (given, *others):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def holders(path):
    """Return the processes that have a file open."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if link.samefile(path):
                found.add(int(link.parts[2]))
    return found


# -- one folder for everybody ----------------------------------------------------------------------


def test_another_tmpdir_is_the_same_machine(holder, tmp_path, monkeypatch):
    pipes = []
    for name in ("mine", "yours"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv("TMPDIR", str(tmp_path / name))
        monkeypatch.setattr(tempfile, "tempdir", None)
        pipes.append(holder(["a"]))
        assert said(pipes[-1], 20 if name == "mine" else 0.2) == (["a"] if name == "mine" else None)
    assert leases.FOLDER.parent == tmp_path
    assert not any(list((tmp_path / name).iterdir()) for name in ("mine", "yours"))


def hold_as(uid, names, count, pipe):
    """Lease devices as another user, whose files nobody else may read."""
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    os.umask(0o077)
    hold(names, count, pipe)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as other users")
def test_the_lease_of_another_user_is_respected(start, monkeypatch):
    top = Path(tempfile.mkdtemp(dir="/tmp"))
    top.chmod(0o1777)
    monkeypatch.setattr(leases, "FOLDER", top / "locks")

    def holder(uid, names, count=1):
        here, there = FORK.Pipe()
        here.process = start(hold_as, uid, names, count, there)
        return here

    try:
        first = holder(NOBODY, ["a", "b"])
        assert said(first) == ["a"]
        second = holder(NOBODY - 1, ["a", "b"])
        assert said(second) == ["b"]
        third, root = holder(NOBODY - 2, ["b"]), holder(0, ["a", "b"], 2)
        assert said(third, 0.2) is None and said(root, 0.1) is None
        second.process.kill()
        assert said(third) == ["b"]
        third.send("leave")
        first.process.kill()
        assert said(root) == ["a", "b"]
        assert stat.S_IMODE((top / "locks").stat().st_mode) == 0o1777
        files = list((top / "locks").iterdir())
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o444}
        assert (top / "locks" / "a.lock").stat().st_uid == NOBODY
    finally:
        shutil.rmtree(top)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_what_is_made_is_for_everybody_to_lock_and_for_nobody_to_remove(folder, umask):
    before = os.umask(umask)
    try:
        with leased(["a"]):
            assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
    assert stat.S_IMODE((folder / "a.lock").stat().st_mode) == 0o444


@pytest.mark.parametrize(
    ("plant", "why"),
    [
        (lambda path: path.symlink_to(path.parents[1] / "victim"), "symbolic links"),
        (lambda path: path.symlink_to(path.parents[1] / "absent"), "symbolic links"),
        (os.mkfifo, "no file"),
        (Path.mkdir, "no file"),
    ],
)
def test_nothing_is_followed_or_written_and_a_pipe_is_not_waited_for(folder, tmp_path, plant, why):
    (tmp_path / "victim").write_text("precious")
    with leased(["b"]):
        plant(folder / "a.lock")
    expected = rf"a\.lock, where GPUs are leased, cannot be used: .*{why}"
    with pytest.raises(InputError, match=expected), leased(["a"]):
        pass
    assert (tmp_path / "victim").read_text() == "precious"
    assert not (tmp_path / "absent").exists() and not leases.HELD


@pytest.mark.parametrize("fault", ["link", "file", "mine alone", "not sticky"])
def test_a_folder_that_is_not_everybodys_is_refused(folder, tmp_path, fault):
    if fault == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o777)
        folder.symlink_to(tmp_path / "elsewhere")
    elif fault == "file":
        folder.touch()
    else:
        folder.mkdir()
        folder.chmod(0o755 if fault == "mine alone" else 0o777)
    with (
        pytest.raises(InputError, match="locks, where GPUs are leased, cannot be used"),
        leased(["a"]),
    ):
        pass
    assert not leases.HELD
    if fault == "link":
        assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("anew", [False, True])
def test_a_file_that_was_removed_is_no_lock(folder, anew):
    """Who opened it before would share the device with who locks the next one."""
    with leased(["a"]):
        old = os.open(folder / "a.lock", os.O_RDONLY)
    (folder / "a.lock").unlink()
    if anew:
        (folder / "a.lock").touch()
    assert leases.locked(old, fcntl.LOCK_EX, (folder / "a.lock").lstat) is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(old)
    assert is_free("a")


@pytest.mark.skipif(not shutil.which("systemd-tmpfiles"), reason="no systemd-tmpfiles here")
def test_what_clears_tmp_leaves_the_folder_alone_while_a_lease_is_held(tmp_path, monkeypatch):
    top = tmp_path / "tmp"
    top.mkdir()
    monkeypatch.setattr(leases, "FOLDER", top / "locks")
    (tmp_path / "rules").write_text(f"e {top} - - - 1us\n")
    clean = ["systemd-tmpfiles", "--clean", str(tmp_path / "rules")]
    with leased(["a"]):
        (top / "other").touch()
        # Time stamps are as coarse as the kernel's clock.
        assert until(lambda: subprocess.run(clean, check=True) and not (top / "other").exists())
        assert (top / "locks" / "a.lock").exists()
    subprocess.run(clean, check=True)
    assert not (top / "locks").exists()
