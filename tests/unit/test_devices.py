"""The devices that a job gets: inside what it is shown, and another for each."""

import os
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
import torch

from workflow_scripts.common import devices, leases
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.runtime import step


def show(monkeypatch, count, usable=True):
    """Let PyTorch count so many GPUs, which its driver can or cannot use."""
    monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(devices.torch.cuda, "is_available", lambda: usable and count > 0)


@pytest.mark.parametrize(
    ("count", "usable"), [(0, True), (1, False)], ids=["none", "the driver is too old"]
)
def test_cuda_without_a_device_is_an_error_and_auto_falls_back(monkeypatch, count, usable):
    show(monkeypatch, count, usable)
    with pytest.raises(InputError, match="device: cuda"), devices.leased_device("cuda"):
        pass
    with devices.leased_device("auto") as device:
        assert device.type == "cpu"
    with devices.leased_devices("auto", 3) as several:
        assert [device.type for device in several] == ["cpu"] * 3


def test_more_gpus_than_there_are_is_an_error(monkeypatch):
    show(monkeypatch, 2)
    with (
        pytest.raises(InputError, match=r"asks for 4 GPUs at once, but PyTorch sees 2.*`gpus`"),
        devices.leased_devices("auto", 4),
    ):
        pass


def test_more_gpus_than_the_run_allows_is_an_error_but_on_the_cpu(monkeypatch):
    show(monkeypatch, 2)
    with (
        pytest.raises(InputError, match=r"2 GPUs.*allows 1: give --resources gpu=2"),
        devices.leased_devices("auto", 2, allowed=1),
    ):
        pass
    with devices.leased_devices("cpu", 2, allowed=0) as several:
        assert len(several) == 2
    show(monkeypatch, 0)
    with devices.leased_devices("auto", 2, allowed=1) as several:
        assert len(several) == 2


def test_a_run_that_allows_no_gpu_uses_the_cpu_and_says_so_or_is_an_error(job, capsys):
    with step(job(resources={"device": "auto", "gpu": 0})) as config:
        assert config["device"] == "cpu"
    assert "this run allows no GPU" in capsys.readouterr().err
    with pytest.raises(SystemExit), step(job(resources={"device": "cuda", "gpu": 0})):
        pytest.fail("computes")
    assert "`device: cuda`, but this run allows no GPU" in capsys.readouterr().err
    with step(job(resources={"device": "cuda", "gpu": 1})) as config:
        assert config["device"] == "cuda"


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


@pytest.fixture
def gpus(tmp_path, monkeypatch):
    """A machine with three GPUs, of which CUDA_VISIBLE_DEVICES may show some."""
    uuids = ["5f3a", "81c2", "d04e"]

    def visible():
        chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
        return uuids if chosen is None else [uuids[int(n)] for n in chosen.split(",") if n]

    cuda = devices.torch.cuda
    monkeypatch.setattr(leases, "FOLDER", tmp_path / "locks")
    monkeypatch.setattr(cuda, "device_count", lambda: len(visible()))
    monkeypatch.setattr(cuda, "is_available", lambda: bool(visible()))
    monkeypatch.setattr(cuda, "get_device_name", lambda device: visible()[device.index])
    monkeypatch.setattr(
        cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=visible()[index])
    )
    monkeypatch.setattr(cuda, "set_device", lambda device: None)
    monkeypatch.setattr(leases.time, "sleep", lambda _: pytest.fail("waits"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return uuids


def lease(stack, shown, count=1):
    """Lease devices in a job that is shown some of them (None: all); return what they are."""
    with pytest.MonkeyPatch.context() as patch:
        if shown is not None:
            patch.setenv("CUDA_VISIBLE_DEVICES", shown)
        found = stack.enter_context(devices.leased_devices("cuda", count))
        return [devices.torch.cuda.get_device_name(device) for device in found]


@pytest.mark.parametrize(
    "jobs",
    [
        [(None, 1), (None, 1), (None, 1)],
        [("0", 1), ("1", 1), ("2", 1)],  # each calls its own device 0, as under SLURM
        [("2,0", 1), (None, 2)],
        [("1", 1), ("1,0", 1), (None, 1)],
        [("2,1", 2), (None, 1)],
    ],
)
def test_jobs_get_distinct_devices_inside_what_each_is_shown(gpus, jobs, caplog):
    caplog.set_level("INFO")
    with ExitStack() as stack:
        taken = [lease(stack, shown, count) for shown, count in jobs]
    held = [name for names in taken for name in names]
    assert sorted(held) == sorted(set(held)) and len(held) == sum(count for _, count in jobs)
    for (shown, count), names in zip(jobs, taken, strict=True):
        inside = range(3) if shown is None else map(int, shown.split(","))
        assert set(names) <= {gpus[number] for number in inside}
        assert len(names) == count
        assert all(name in caplog.text for name in names)


def test_nothing_visible_is_no_device(gpus, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with devices.leased_device("auto") as device:
        assert device.type == "cpu"
    assert "computing on the CPU" in caplog.text and "can use no CUDA device" in caplog.text
    with pytest.raises(InputError, match="CUDA_VISIBLE_DEVICES"), devices.leased_device("cuda"):
        pass


def test_parts_of_one_gpu_are_devices_of_their_own(gpus, monkeypatch):
    """CUDA shows a process one part, and may tell the name of the whole GPU."""
    cuda = devices.torch.cuda
    show(monkeypatch, 1)
    monkeypatch.setattr(cuda, "get_device_name", lambda device: "MIG 1g.10gb")
    monkeypatch.setattr(cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="5f3a"))
    with ExitStack() as stack:
        for part in ("MIG-a65afc88", "MIG-GPU-63feeb45/1/0", "MIG-GPU-63feeb45/2/0"):
            lease(stack, part)
        with pytest.raises(pytest.fail.Exception, match="waits"):
            lease(stack, "MIG-a65afc88")
