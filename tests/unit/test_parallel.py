"""Two processes on the CPU train as one does, stop together, and say what went wrong."""

import multiprocessing
import os
import signal
import time
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from small_training import (
    CPU,
    FACTS,
    NETWORK,
    POINTS,
    TRAINING,
    end_badly,
    power_weighted,
    trainings_of_two,
    weights,
    write_images,
)

from workflow_scripts.common.errors import InputError
from workflow_scripts.diffusion.network import build_network
from workflow_scripts.training import loop, parallel
from workflow_scripts.training.checkpoint import Checkpoint
from workflow_scripts.training.parallel import StopSignal, launch, make_fabric, supervise
from workflow_scripts.training.worker import train_model

parallel_work = parallel.work


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    """What two processes left behind, what they said in the end, and what one process makes."""
    folder = tmp_path_factory.mktemp("two")
    images, shards = write_images(folder)
    with pytest.MonkeyPatch.context() as patch:
        # As a job under SLURM sees it, which is no business of these processes.
        for name, value in {"JOB_ID": "7", "NTASKS": "1", "PROCID": "0", "JOB_NAME": "x"}.items():
            patch.setenv(f"SLURM_{name}", value)
        with pytest.raises(InputError) as said:
            launch(trainings_of_two, [CPU, CPU], False, images, shards, folder)
        (folder / "one").mkdir()
        one = Checkpoint(folder / "one", "key")
        facts = FACTS | {"network": NETWORK | {"dropout": 0.0}}
        picture = folder / "one" / "progress.png"
        arguments = (images, shards, facts, TRAINING, False, one, picture)
        patch.setattr(loop, "LOG_POINTS", POINTS)
        launch(train_model, [CPU], False, *arguments)
    states = {name: Checkpoint(folder / name, "key").load() for name in ("one", "whole", "resumed")}
    histories = [torch.load(folder / f"history{rank}.pt", weights_only=True) for rank in (0, 1)]
    stops = [(folder / f"stop{rank}.txt").read_text() for rank in (0, 1)]
    return SimpleNamespace(states=states, histories=histories, stops=stops, said=str(said.value))


@pytest.mark.parametrize("name", ["network", "short", "long", "early"])
def test_two_processes_make_the_weights_and_averages_of_one(trainings, name):
    # Up to the order of sums: 0.2 % of their norm. Adam magnifies rounding in weights of no effect,
    # such as biases in front of a normalisation, to whole steps.
    one, two = (trainings.states[which][name] for which in ("one", "whole"))
    assert (weights(one) - weights(two)).norm() < 2e-3 * weights(one).norm()
    networks = []
    for state in (one, two):
        network = build_network(NETWORK, 16, 7).eval()
        network.load_state_dict(state)
        torch.manual_seed(0)
        networks.append(network(torch.randn(5, 1, 16, 16), torch.rand(5), torch.rand(5, 7)))
    torch.testing.assert_close(*networks, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("name", "width"), [("short", 0.05), ("long", 0.1)])
def test_averages_of_two_processes_follow_their_definition(trainings, name, width):
    first, second = trainings.histories
    assert all(torch.equal(first[step], second[step]) for step in range(1, 21))
    found = weights(trainings.states["whole"][name]).double()
    torch.testing.assert_close(found, power_weighted(first, width), rtol=0, atol=1e-6)


def test_two_processes_log_what_one_does(trainings):
    one, two = (pd.DataFrame(trainings.states[which]["rows"]) for which in ("one", "whole"))
    pd.testing.assert_frame_equal(one, two, rtol=1e-4)


def test_two_processes_stop_together_though_one_was_asked_and_go_on_as_if_they_had_not(trainings):
    states = trainings.states
    assert trainings.stops[0] == trainings.stops[1]
    assert "stopped by SIGTERM at step 10 of 20" in trainings.stops[0]
    for name in ("network", "short", "long", "early"):
        assert torch.equal(weights(states["whole"][name]), weights(states["resumed"][name]))
    assert states["whole"]["rows"] == states["resumed"]["rows"]  # though it stopped between two
    assert states["whole"]["pictures"].keys() == states["resumed"]["pictures"].keys()


def test_a_signal_to_the_parent_stops_all_and_their_message_reaches_the_user(trainings):
    assert trainings.said.startswith("stopped by SIGTERM at step ")
    assert "Run the same command again" in trainings.said


def test_a_killed_process_is_no_defect_and_a_defect_keeps_its_traceback(monkeypatch):
    fork = multiprocessing.get_context("fork")  # no arithmetic here, and it saves the imports
    monkeypatch.setattr(parallel.multiprocessing, "get_context", lambda _: fork)
    with pytest.raises(InputError, match=r"process 1 .* exit code -9.*Run the same command"):
        launch(end_badly, [CPU, CPU], False, "killed")
    with pytest.raises(RuntimeError, match=r"(?s)in process 1:.*Traceback.*ZeroDivisionError: by"):
        launch(end_badly, [CPU, CPU], False, "by")
    with pytest.raises(RuntimeError, match=r"in process 1:\nx+y\n$"):  # more than a pipe takes in
        launch(end_badly, [CPU, CPU], False, "x" * 100_000 + "y")


def test_a_full_disk_is_named_with_its_file(monkeypatch):
    fork = multiprocessing.get_context("fork")
    monkeypatch.setattr(parallel.multiprocessing, "get_context", lambda _: fork)
    message = r"^models/key\.pt: No space left on device\. Mend that and run again\.$"
    with pytest.raises(InputError, match=message):
        launch(end_badly, [CPU, CPU], False, "full disk")


def signalled_at_the_end(*arguments):
    """Be a process that is asked to stop when all is done but its end."""
    for number in StopSignal.SIGNALS:  # as in a process that is no fork
        signal.signal(number, signal.SIG_DFL)
    parallel_work(*arguments)
    for number in StopSignal.SIGNALS:
        os.kill(os.getpid(), number)


def test_a_process_that_is_done_is_not_ended_by_a_signal(monkeypatch):
    fork = multiprocessing.get_context("fork")
    monkeypatch.setattr(parallel.multiprocessing, "get_context", lambda _: fork)
    monkeypatch.setattr(parallel, "work", signalled_at_the_end)
    monkeypatch.setattr(parallel, "make_fabric", lambda *_: None)
    launch(stop_at_once, [CPU, CPU], False)


def stop_at_once(fabric):
    """Be one of two processes with handlers of its own for a while."""
    with StopSignal():
        pass


def test_who_stops_before_the_processes_can_answer_is_told_so(monkeypatch):
    fork = multiprocessing.get_context("fork")
    monkeypatch.setattr(parallel.multiprocessing, "get_context", lambda _: fork)
    monkeypatch.setattr(parallel, "work", stop_the_parent_and_wait)
    with pytest.raises(InputError, match="stopped by SIGTERM before its processes could answer"):
        launch(stop_at_once, [CPU, CPU], False)


def stop_the_parent_and_wait(*arguments):
    """Be a process that has no handlers yet."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(60)


def test_who_waits_for_a_process_that_failed_is_ended(monkeypatch):
    monkeypatch.setattr(parallel, "GRACE", 0.2)
    context = multiprocessing.get_context("fork")
    failing = context.Process(target=os._exit, args=(3,))
    waiting = context.Process(target=time.sleep, args=(60,))
    with StopSignal() as stop:
        for process in (failing, waiting):
            process.start()
        assert supervise([failing, waiting], stop) is failing
    assert waiting.exitcode == -signal.SIGKILL


def test_a_signal_is_noted_and_the_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with StopSignal() as stop:
        assert stop.received is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) is before


def child_of(pipe):
    """Start a process that waits for its own parent's end; say who it is, and be killed."""
    context = multiprocessing.get_context("fork")
    child = context.Process(target=wait_to_be_orphaned, args=(pipe,))
    child.start()
    pipe.send(child.pid)
    time.sleep(60)


def wait_to_be_orphaned(pipe):
    with StopSignal() as stop:
        while stop.received is None:
            time.sleep(0.01)
    pipe.send(stop.received)


def test_a_process_whose_parent_was_killed_stops():
    here, there = multiprocessing.Pipe()
    parent = multiprocessing.get_context("fork").Process(target=child_of, args=(there,))
    parent.start()
    child = here.recv()
    parent.kill()
    assert here.poll(20), os.kill(child, signal.SIGKILL)
    assert here.recv() == "SIGTERM"
    parent.join()


def test_one_process_alone_needs_no_other():
    fabric = make_fabric([CPU], bf16=False)
    assert fabric.world_size == 1
    assert parallel.Agreement(fabric).reached(3, 15, 0) == [15, 0]
