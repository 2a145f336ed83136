"""The training loop: it learns, it stops in order, and it resumes to the very same weights."""

import os
import signal
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import UNet2DModel
from hypothesis import given
from hypothesis import strategies as st
from lightning_fabric import Fabric

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.store import ImageStore
from workflow_scripts.diffusion.checkpoint import Checkpoint
from workflow_scripts.diffusion.ema import EMA
from workflow_scripts.diffusion.network import build_denoiser, load_denoiser
from workflow_scripts.diffusion.objective import Objective
from workflow_scripts.diffusion.train_diffusion import run_key, save_unet
from workflow_scripts.diffusion.training import (
    ImageSet,
    class_probabilities,
    draw_positions,
    learning_rate,
    train,
)

NETWORK = {
    "patch_size": 2,
    "channels": [8, 16],
    "layers_per_block": 1,
    "attention_levels": [],
    "dropout": 0.1,
}
PROCESS = {
    "timesteps": 1000,
    "schedule": "cosine",
    "zero_terminal_snr": True,
    "prediction": "v",
    "weighting": "min_snr",
    "min_snr_gamma": 5,
}
TRAINING = {
    "steps": 12,
    "batch_size": 4,
    "learning_rate": 0.002,
    "warmup_steps": 3,
    "weight_decay": 0.01,
    "label_dropout": 0.1,
    "ema_decay": 0.99,
    "class_sampling": "balanced",
    "seed": 1,
}


class Interrupting(ImageStore):
    """An image store that sends this process a signal at the k-th gather."""

    def interrupt(self, number, at):
        self.number, self.countdown = number, at

    def gather(self, positions):
        if getattr(self, "countdown", None) is not None:
            self.countdown -= 1
            if self.countdown == 0:
                os.kill(os.getpid(), self.number)
        return super().gather(positions)


@pytest.fixture
def data(tmp_path):
    y, x = np.mgrid[:16, :16]
    waves = [np.sin((k + 1) * x / 10) + np.cos((k % 4 + 1) * y / 8) for k in range(20)]
    images = (127 + 60 * np.stack(waves)).astype(np.uint8)
    np.save(tmp_path / "shard.npy", images)
    index = pd.DataFrame({"shard": "shard", "row": range(20)})
    return ImageSet(Interrupting(index, [tmp_path / "shard.npy"]), np.arange(20) % 3)


def run(data, folder, key="key", **changes):
    settings = TRAINING | changes
    torch.manual_seed(7)
    denoiser = build_denoiser(NETWORK, 16, 3)
    fabric = Fabric(accelerator="cpu", devices=1)
    checkpoint = Checkpoint(folder, key)
    return train(denoiser, Objective(PROCESS), data, data, settings, fabric, checkpoint)


def weights(model):
    return torch.cat([parameter.flatten() for parameter in model.parameters()])


@pytest.mark.parametrize(
    ("number", "at"), [(signal.SIGTERM, 2), (signal.SIGURG, 9), (signal.SIGINT, 5)]
)
def test_a_stopped_run_resumes_to_the_same_weights_and_log(data, tmp_path, number, at):
    whole, log = run(data, tmp_path / "a")
    data.store.interrupt(number, at)
    with pytest.raises(InputError, match=r"stopped by SIG\w+ at step \d+ of 12.*Run the same"):
        run(data, tmp_path / "b")
    assert (tmp_path / "b" / "key.pt").exists()
    resumed, resumed_log = run(data, tmp_path / "b")
    assert torch.equal(weights(whole), weights(resumed))
    assert log.equals(resumed_log)


def test_another_configuration_never_resumes_these_weights(data, tmp_path):
    data.store.interrupt(signal.SIGTERM, 6)
    with pytest.raises(InputError):
        run(data, tmp_path, key="one")
    (tmp_path / "one.pt").rename(tmp_path / "two.pt")
    assert Checkpoint(tmp_path, "two").load() is None
    (tmp_path / "three.pt").write_bytes(b"not a checkpoint")
    assert Checkpoint(tmp_path, "three").load() is None


def test_the_key_of_a_run_changes_with_configuration_code_and_data(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    keys = {
        run_key({"steps": 1}, "code", [one]),
        run_key({"steps": 2}, "code", [one]),
        run_key({"steps": 1}, "other", [one]),
        run_key({"steps": 1}, "code", [two]),
        run_key({"steps": 1, "device": "cuda"}, "code", [one]),
    }
    assert len(keys) == 4
    assert run_key({"steps": 1}, "code", [one]) in keys


def test_training_overfits_a_handful_of_images(data, tmp_path):
    _, log = run(data, tmp_path, steps=300, batch_size=8, label_dropout=0.0)
    assert log["loss"].tail(10).mean() < 0.6 * log["loss"].head(3).mean()


def test_a_diverging_run_stops_and_says_what_to_do(data, tmp_path):
    with pytest.raises(InputError, match=r"the loss is (nan|inf).*Lower training.learning_rate"):
        run(data, tmp_path, learning_rate=1e30, weight_decay=1e9, steps=100)


def test_the_log_has_validation_losses_and_the_last_step(data, tmp_path):
    _, log = run(data, tmp_path)
    assert log["step"].iloc[-1] == 12
    assert log["validation_loss"].notna().sum() >= 10
    assert (log["images"] == log["step"] * 4).all()


def test_averaged_weights_follow_their_definition():
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    ema, expected = EMA(model, decay=0.5), weights(model).clone()
    for step in range(20):
        for parameter in model.parameters():
            parameter.data += torch.randn_like(parameter)
        ema.update(model, step)
        d = min(0.5, (1 + step) / (10 + step))
        expected = d * expected + (1 - d) * weights(model)
    torch.testing.assert_close(weights(ema.model), expected)


def test_learning_rate_warms_up_and_ends_near_zero():
    rates = [
        learning_rate(step, TRAINING | {"steps": 100, "warmup_steps": 10}) for step in range(100)
    ]
    assert rates[0] == pytest.approx(0.0002)
    assert max(rates) == rates[9] == pytest.approx(0.002)
    assert rates[-1] < 1e-5
    assert all(a >= b for a, b in pairwise(rates[9:]))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=200))
def test_class_probabilities_sum_to_one_and_balance(classes):
    classes = np.array(classes)
    for sampling in ("natural", "sqrt", "balanced"):
        assert class_probabilities(classes, sampling).sum() == pytest.approx(1)
    balanced = class_probabilities(classes, "balanced")
    shares = [balanced[classes == c].sum() for c in np.unique(classes)]
    assert shares == pytest.approx([1 / len(shares)] * len(shares))


def test_draws_follow_the_probabilities_and_the_step():
    probabilities = class_probabilities(np.array([0] * 90 + [1] * 10), "balanced")
    draws = np.concatenate([draw_positions(probabilities, 100, 5, step) for step in range(50)])
    assert (draws >= 90).mean() == pytest.approx(0.5, abs=0.03)
    assert not np.array_equal(draw_positions(probabilities, 100, 5, 0), draws[100:200])
    assert np.array_equal(draw_positions(probabilities, 100, 5, 1), draws[100:200])


def test_labels_are_dropped_per_sample_at_the_configured_rate(data, tmp_path, monkeypatch):
    seen = []
    denoiser = build_denoiser(NETWORK, 16, 3)
    forward = type(denoiser).forward
    monkeypatch.setattr(
        type(denoiser),
        "forward",
        lambda self, x, t, c: seen.append(c.clone()) or forward(self, x, t, c),
    )
    run(data, tmp_path, steps=60, batch_size=20, label_dropout=0.3)
    # Validation passes the network too, with every label in place.
    batches = [c for c in seen if (c == denoiser.null_class).any()]
    assert len(batches) >= 58
    dropped = torch.stack([(c == denoiser.null_class).float().mean() for c in batches])
    assert dropped.mean().item() == pytest.approx(0.3, abs=0.05)
    assert ((dropped > 0) & (dropped < 1)).float().mean() > 0.9  # mixed within a batch


@pytest.mark.parametrize("channels", [[8], [40], [48, 72], [32, 64, 96]])
def test_every_allowed_width_builds_a_network(channels):
    denoiser = build_denoiser(NETWORK | {"channels": channels, "attention_levels": [0]}, 16, 3)
    x = torch.zeros(2, 1, 16, 16)
    assert denoiser(x, torch.tensor([1, 2]), torch.tensor([0, 3])).shape == x.shape


@pytest.mark.parametrize("name", ["config.json", "diffusion_pytorch_model.safetensors"])
def test_a_damaged_model_is_named(tmp_path, name):
    config, file = tmp_path / "config.json", tmp_path / "diffusion_pytorch_model.safetensors"
    save_unet(build_denoiser(NETWORK, 16, 3).unet, config, file)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:100])
    with pytest.raises(InputError, match="no model that can be loaded"):
        load_denoiser(file)


def test_weights_load_with_diffusers_alone(tmp_path):
    torch.manual_seed(0)
    denoiser = build_denoiser(NETWORK, 16, 3).eval()
    config, file = tmp_path / "config.json", tmp_path / "diffusion_pytorch_model.safetensors"
    save_unet(denoiser.unet, config, file)
    unet = UNet2DModel.from_pretrained(tmp_path, use_safetensors=True)
    ours = load_denoiser(file)
    assert torch.equal(weights(unet), weights(denoiser))
    assert (ours.image_size, ours.patch_size, ours.null_class) == (16, 2, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == [config.name, file.name]
    (tmp_path / "as usual").touch()
    assert file.stat().st_mode == (tmp_path / "as usual").stat().st_mode
