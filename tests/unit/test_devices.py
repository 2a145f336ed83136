"""Leases of devices: each for one job, several at once or none, and free when a job dies."""

import multiprocessing
import os
import signal
import time
from types import SimpleNamespace

import pytest
import torch

from workflow_scripts.common import devices
from workflow_scripts.common.errors import InputError


def test_cuda_without_a_device_is_an_error_and_auto_falls_back(monkeypatch):
    monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: 0)
    with pytest.raises(InputError, match="device: cuda"), devices.leased_device("cuda"):
        pass
    with devices.leased_device("auto") as device:
        assert device.type == "cpu"
    with devices.leased_devices("auto", 3) as several:
        assert [device.type for device in several] == ["cpu"] * 3


def test_more_gpus_than_there_are_is_an_error(monkeypatch):
    monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: 2)
    with (
        pytest.raises(InputError, match=r"asks for 4 GPUs at once, but PyTorch sees 2.*`gpus`"),
        devices.leased_devices("auto", 4),
    ):
        pass


def test_more_gpus_than_the_run_allows_is_an_error_but_on_the_cpu(monkeypatch):
    monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: 2)
    with (
        pytest.raises(InputError, match=r"2 GPUs.*allows 1: give --resources gpu=2"),
        devices.leased_devices("auto", 2, allowed=1),
    ):
        pass
    with devices.leased_devices("cpu", 2, allowed=0) as several:
        assert len(several) == 2
    monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: 0)
    with devices.leased_devices("auto", 2, allowed=1) as several:
        assert len(several) == 2


def test_compiling_needs_a_gpu_a_c_compiler_and_the_headers_of_python(monkeypatch, tmp_path):
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr(devices.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    monkeypatch.setattr(devices, "has_triton", lambda: True)
    monkeypatch.setattr(devices.shutil, "which", {"gcc": "/usr/bin/gcc"}.get)
    monkeypatch.delenv("CC", raising=False)
    assert devices.can_compile(torch.device("cuda", 0))
    assert not devices.can_compile(torch.device("cpu"))
    (tmp_path / "Python.h").unlink()
    assert not devices.can_compile(torch.device("cuda", 0))
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr(devices.shutil, "which", lambda name: None)
    assert not devices.can_compile(torch.device("cuda", 0))


def hold(folder, visible, count, events, seconds):
    """Lease `count` of `visible` fake devices and say when which."""
    devices.tempfile.tempdir = folder
    with devices.lease(visible, count, pause=0.01) as indices:
        events.put(("taken", indices))
        time.sleep(seconds)
        events.put(("left", indices))


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Start a process that holds devices; all are killed at the end."""
    monkeypatch.setattr(devices, "physical_names", lambda count: list("abcd")[:count])
    context = multiprocessing.get_context("fork")
    started = []

    def start(visible, count, seconds):
        process = context.Process(
            target=hold, args=(str(tmp_path), visible, count, start.events, seconds)
        )
        process.start()
        started.append(process)
        return process

    start.events = context.Queue()
    yield start
    for process in started:
        process.kill()
        process.join()


def test_processes_lease_distinct_devices_and_a_killed_one_frees_its_own(job, tmp_path):
    first = [job(2, 1, 60) for _ in range(2)]
    taken = [job.events.get(timeout=20)[1] for _ in first]
    assert sorted(taken) == [[0], [1]]
    job(2, 1, 0)
    time.sleep(0.3)
    assert job.events.empty()
    os.kill(first[0].pid, signal.SIGKILL)
    assert job.events.get(timeout=20)[1] in taken
    names = {path.name for folder in tmp_path.iterdir() for path in folder.iterdir()}
    assert names == {"a.lock", "b.lock", "choosing.lock"}


def test_several_devices_are_leased_at_once_or_not_at_all(job):
    for _ in range(3):  # each wants two of three: one at a time can have them
        job(3, 2, 0.1)
    events = [job.events.get(timeout=20) for _ in range(6)]
    assert [what for what, _ in events] == ["taken", "left"] * 3
    assert all(len(set(indices)) == 2 for _, indices in events)


def test_who_waits_for_several_holds_none(job):
    one = job(2, 1, 60)
    assert job.events.get(timeout=20) == ("taken", [0])
    job(2, 2, 60)
    time.sleep(0.2)
    job(2, 1, 60)
    assert job.events.get(timeout=20) == ("taken", [1])
    os.kill(one.pid, signal.SIGKILL)
    time.sleep(0.2)
    assert job.events.empty()


def test_jobs_that_each_see_another_gpu_as_device_0_do_not_wait_for_each_other(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(devices.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(devices.time, "sleep", lambda _: pytest.fail("waits for another GPU"))
    held = []
    for uuid in ("5f3a", "81c2"):
        monkeypatch.setattr(
            devices.torch.cuda, "get_device_properties", lambda _, u=uuid: SimpleNamespace(uuid=u)
        )
        lease = devices.lease(1)
        assert lease.__enter__() == [0]
        held.append(lease)
    names = {path.name for folder in tmp_path.iterdir() for path in folder.iterdir()}
    assert names == {"5f3a.lock", "81c2.lock", "choosing.lock"}
    for lease in held:
        lease.__exit__(None, None, None)


def test_a_user_without_a_name_leases(tmp_path, monkeypatch):
    monkeypatch.setattr(devices.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(devices, "physical_names", lambda count: ["a"])
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    with devices.lease(1):
        assert [path.name for path in tmp_path.iterdir()] == [f"synthorax-gpus-{os.getuid()}"]


def test_a_lock_folder_of_somebody_else_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(devices.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(devices, "physical_names", lambda count: ["a"])
    with devices.lease(1):
        pass
    owner = os.getuid()
    monkeypatch.setattr(devices.os, "getuid", lambda: owner + 1)
    with pytest.raises(InputError, match=r"belongs to another user.*TMPDIR"), devices.lease(1):
        pass
