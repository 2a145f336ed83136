"""The training loop: it learns, it stops in order, and it goes on to the very same weights."""

import os
import signal
from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from small_training import (
    TRAINING,
    VALUES,
    interrupted,
    parts,
    power_weighted,
    recorded,
    weights,
    write_images,
)
from torch.utils._python_dispatch import TorchDispatchMode

from workflow_scripts.common.errors import InputError
from workflow_scripts.diffusion.conditions import Conditions
from workflow_scripts.diffusion.network import Network
from workflow_scripts.training.loop import learning_rate, train

NAMES = ("network", "short", "long", "early")


@pytest.fixture
def arguments(tmp_path):
    """Return the arguments of `train` for a folder of checkpoints and changed settings."""
    return partial(parts, *write_images(tmp_path))


def test_a_state_that_lies_otherwise_in_memory_goes_on_to_the_same_weights(arguments, tmp_path):
    # As a GPU lays out images and the weights of convolutions.
    chosen = arguments(tmp_path)
    with pytest.raises(InputError, match="stopped by SIGTERM"):
        train(**interrupted(chosen, 9, signalled(signal.SIGTERM)))
    state = chosen["checkpoint"].load()
    (tmp_path / "gpu").mkdir()
    moved = arguments(tmp_path / "gpu")
    for moments in state["optimizer"]["state"].values():
        for name in ("exp_avg", "exp_avg_sq"):
            if moments[name].ndim == 4:
                moments[name] = moments[name].contiguous(memory_format=torch.channels_last)
    moved["checkpoint"].save(state)
    here, there = train(**arguments(tmp_path)), train(**moved)
    assert all(torch.equal(weights(here[name]), weights(there[name])) for name in NAMES)


def signalled(number):
    return partial(os.kill, os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "at"), [(signal.SIGTERM, 1), (signal.SIGURG, 9), (signal.SIGINT, 16)]
)
def test_a_stopped_training_goes_on_to_the_same_weights_log_and_pictures(
    arguments, tmp_path, number, at
):
    def observe(step, network, pictures):
        pictures[step] = (100 * weights(network)[:4]).byte()

    whole = train(**arguments(tmp_path / "a"), observe=observe)
    stopping = interrupted(arguments(tmp_path / "b"), at, signalled(number))
    message = rf"stopped by {number.name} at step {at + 1} of 20.*key\.pt\. Run the same command"
    with pytest.raises(InputError, match=message):
        train(**stopping, observe=observe)
    resumed = train(**arguments(tmp_path / "b"), observe=observe)
    assert all(torch.equal(weights(whole[name]), weights(resumed[name])) for name in NAMES)
    assert whole["rows"] == resumed["rows"]
    assert len(whole["pictures"]) == 10
    assert all(torch.equal(whole["pictures"][k], resumed["pictures"][k]) for k in range(2, 21, 2))


def test_the_averages_are_those_of_the_weights_after_every_step(arguments, tmp_path):
    with recorded() as history:
        state = train(**arguments(tmp_path))
    for name, width in (("short", 0.05), ("long", 0.1)):
        found = weights(state[name]).double()
        torch.testing.assert_close(found, power_weighted(history, width), rtol=0, atol=1e-6)
    assert torch.equal(weights(state["network"]), history[20])


def test_early_is_the_short_average_at_a_quarter_of_the_steps(arguments, tmp_path):
    with recorded() as history:
        state = train(**arguments(tmp_path))
    quarter = {step: history[step] for step in range(1, 6)}
    found = weights(state["early"]).double()
    torch.testing.assert_close(found, power_weighted(quarter, 0.05), rtol=0, atol=1e-6)


def test_training_overfits_eight_images(arguments, tmp_path):
    # From 0.25, the loss of a network that always says 0, to below 0.06.
    changes = {"steps": 250, "batch_size": 8, "learning_rate": 0.01, "label_dropout": 0.0}
    chosen = arguments(tmp_path, dropout=0.0, **changes)
    chosen["batches"].edges = np.arange(1.0, 9.0) / 8
    log = pd.DataFrame(train(**chosen)["rows"])
    assert log["loss"].iloc[0] > 0.15
    assert log["loss"].tail(10).mean() < 0.06


def test_a_loss_that_is_no_number_stops_the_training_and_is_never_saved(arguments, tmp_path):
    chosen = arguments(tmp_path)
    chosen["checkpoint"].steps = 1

    def spoil():
        next(chosen["network"].parameters()).data[0] = torch.nan

    with pytest.raises(InputError, match=r"diverged: at step 8 the loss is nan.*key\.pt.*Lower"):
        train(**interrupted(chosen, 7, spoil))
    state = chosen["checkpoint"].load()
    assert state["step"] == 7
    assert all(weights(state[name]).isfinite().all() for name in NAMES)


def test_a_gradient_that_is_no_number_stops_the_training(arguments, tmp_path, monkeypatch):
    clip = torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(
        torch.nn.utils, "clip_grad_norm_", lambda *a, **k: clip(*a, **k) * torch.inf
    )
    with pytest.raises(InputError, match=r"norm of its gradient inf.*last good state is the start"):
        train(**arguments(tmp_path))


class Brighter:
    """Batches whose images are all at once on another scale."""

    def __init__(self, batches, at):
        self.batches, self.at = batches, at

    def __getitem__(self, step):
        batch = self.batches[step]
        return batch._replace(x0=batch.x0 * (10 if step >= self.at else 1))


def test_a_loss_of_four_times_the_first_stops_the_training(arguments, tmp_path):
    chosen = arguments(tmp_path, batch_size=64)
    with pytest.raises(InputError, match=r"diverged: at step 13 the loss is \d"):
        train(**chosen | {"batches": Brighter(chosen["batches"], 12)})


@pytest.mark.parametrize("seed", range(3))
def test_the_scatter_of_few_images_is_no_divergence(arguments, tmp_path, seed):
    chosen = arguments(tmp_path, batch_size=1, seed=seed)
    chosen["checkpoint"].steps = 1
    log = pd.DataFrame(train(**chosen)["rows"])
    assert len(log) == 20


def test_a_row_of_enough_images_is_judged_and_what_follows_it_only_with_as_many(
    arguments, tmp_path
):
    # 200 steps make rows of 2: 64 images, while every other save falls a step after a row.
    chosen = arguments(tmp_path, batch_size=32, steps=200)
    chosen["checkpoint"].steps = 5
    with pytest.raises(InputError, match=r"diverged: at step 6 the loss is \d"):
        train(**chosen | {"batches": Brighter(chosen["batches"], 4)})
    assert chosen["checkpoint"].load()["step"] == 5


def test_the_log_has_validation_losses_and_the_last_step(arguments, tmp_path):
    seen = []
    state = train(**arguments(tmp_path, steps=23), observe=lambda step, *_: seen.append(step))
    log = pd.DataFrame(state["rows"])
    assert log["step"].tolist() == list(range(1, 24))
    assert log["step"][log["validation_loss"].notna()].tolist() == seen
    assert seen == [*range(2, 23, 2), 23]
    assert (log["images"] == log["step"] * 4).all()
    assert (log["gradient_norm"] > 0).all()


def test_the_state_is_saved_every_so_many_steps(arguments, tmp_path):
    chosen = arguments(tmp_path)
    chosen["checkpoint"].steps = 3
    saved = []
    chosen["checkpoint"].save = lambda state: saved.append(state["step"])
    train(**chosen)
    assert saved == [3, 6, 9, 12, 15, 18, 20]


def test_the_state_is_saved_when_time_is_up(arguments, tmp_path, monkeypatch):
    chosen = arguments(tmp_path)
    chosen["checkpoint"].minutes = 10
    saved, save = [], chosen["checkpoint"].save

    def late():
        chosen["checkpoint"].saved_at -= 601

    monkeypatch.setattr(
        chosen["checkpoint"], "save", lambda state: (saved.append(state["step"]), save(state))
    )
    train(**interrupted(chosen, 11, late))
    assert saved == [12, 20]


def test_each_condition_is_dropped_per_sample_at_its_rate_on_its_way_to_the_network(
    arguments, tmp_path, monkeypatch
):
    seen, forward = [], Network.forward
    monkeypatch.setattr(
        Network,
        "forward",
        lambda network, x, t, c: seen.append(c.clone()) or forward(network, x, t, c),
    )
    train(**arguments(tmp_path, steps=40, batch_size=32, label_dropout=0.3))
    conditions = Conditions(VALUES)
    null = torch.stack(
        [
            torch.cat([c[:, conditions.block(name).stop - 1] for c in seen])
            for name in conditions.attributes
        ]
    )
    # Both at 0.3; of what is left a third one of the two, and two thirds each or not.
    assert null.mean(1).tolist() == pytest.approx([0.65, 0.65], abs=0.04)
    assert null.prod(0).mean().item() == pytest.approx(0.3 + 0.7 / 3 * 2 / 4, abs=0.04)
    shares = torch.stack([c[:, conditions.block("finding").stop - 1].mean() for c in seen])
    assert ((shares > 0) & (shares < 1)).all()  # mixed within a batch


class Reads(TorchDispatchMode):
    """Counts what depends on the values of tensors, for each of which a GPU would be waited for."""

    TAGS = frozenset({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape})
    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        # Only a mask among the indices makes the shape of the result depend on values.
        plain = function.name() == "aten::index.Tensor" and not any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        self.count += not plain and not self.TAGS.isdisjoint(function.tags)
        return function(*args, **kwargs or {})


def test_no_step_waits_for_the_device(arguments, tmp_path):
    with Reads() as reads:
        assert torch.ones(2)[torch.tensor([True, False])].item() == 1.0
    assert reads.count == 2
    with Reads() as reads:
        train(**arguments(tmp_path))
    assert reads.count == 0  # the numbers of a row are copied as a whole, which this does not see


def test_learning_rate_warms_up_and_ends_near_zero():
    rates = [
        learning_rate(step, TRAINING | {"steps": 100, "warmup_steps": 10}) for step in range(100)
    ]
    assert rates[0] == pytest.approx(0.0002)
    assert max(rates) == rates[9] == pytest.approx(0.002)
    assert rates[-1] < 1e-5
    assert all(a >= b for a, b in pairwise(rates[9:]))
