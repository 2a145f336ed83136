"""The training loop. Every draw of step k comes from the seed and k alone.

So a run that was killed and resumed goes through the very steps of one that was not, and no
random state needs saving.
"""

import math
import signal
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import Tensor
from tqdm import tqdm

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.pixels import to_input
from workflow_scripts.common.runtime import log, progress_interval
from workflow_scripts.common.seeds import generator, seed_for
from workflow_scripts.common.store import ImageStore
from workflow_scripts.diffusion.checkpoint import Checkpoint
from workflow_scripts.diffusion.ema import EMA
from workflow_scripts.diffusion.network import Denoiser
from workflow_scripts.diffusion.objective import Objective

# No setting: as part of the configuration it would make another model of the same weights.
CHECKPOINT_MINUTES = 10
LOG_POINTS = 100  # rows of the training log
VALIDATIONS = 10  # of which this many carry a validation loss
VALIDATION_IMAGES = 256


@dataclass
class ImageSet:
    """Images with their classes: `classes` is int64 (n,), parallel to `store`."""

    store: ImageStore
    classes: np.ndarray

    def batch(self, positions: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return images float32 (n, 1, h, w) in [-1, 1] and classes int64 (n,) on the device."""
        classes = torch.from_numpy(self.classes[positions])
        return to_input(self.store.gather(positions), device), classes.to(device)


def train(
    denoiser: Denoiser,
    objective: Objective,
    data: ImageSet,
    held_out: ImageSet,
    settings: dict,
    fabric: Fabric,
    checkpoint: Checkpoint,
) -> tuple[Denoiser, pd.DataFrame]:
    """Train `denoiser` and return its averaged weights and the training log.

    Parameters
    ----------
    data : the training split
    held_out : the validation split; its loss is logged, nothing is chosen by it
    settings : the configuration section `training` of a model
    checkpoint : read at the start, written every CHECKPOINT_MINUTES, on a signal to stop, and
        after the last step

    Raises
    ------
    InputError
        If the loss is not finite, or a signal asks to stop: the message says how to go on.
    """
    device, steps, seed = fabric.device, settings["steps"], settings["seed"]
    optimizer = torch.optim.AdamW(
        denoiser.parameters(),
        lr=settings["learning_rate"],
        weight_decay=settings["weight_decay"],
        fused=device.type == "cuda",
    )
    ema = EMA(denoiser.to(device), settings["ema_decay"])
    first, rows = 0, []
    if state := checkpoint.load():
        denoiser.load_state_dict(state["model"])
        ema.model.load_state_dict(state["ema"])
        optimizer.load_state_dict(state["optimizer"])
        first, rows = state["step"], state["rows"]
        log.info("resuming at step %d of %d", first, steps)
    model, optimizer = fabric.setup(denoiser, optimizer)
    model.train()

    def refuse_divergence(loss: float, step: int) -> None:
        if not math.isfinite(loss):
            raise InputError(
                f"the loss is {loss} at step {step}. The last good state is "
                f"{checkpoint.path if checkpoint.path.exists() else 'the start'}. Lower "
                f"training.learning_rate, or lengthen training.warmup_steps."
            )

    def save(step: int) -> None:
        refuse_divergence(running.item(), step)
        checkpoint.save(
            {
                "step": step,
                "rows": rows,
                "running": running.item(),
                "model": denoiser.state_dict(),
                "ema": ema.model.state_dict(),
                "optimizer": optimizer.state_dict(),
            }
        )

    probabilities = class_probabilities(data.classes, settings["class_sampling"])
    log_every = max(1, steps // LOG_POINTS)
    validate_every = max(1, steps // VALIDATIONS)
    running = torch.tensor(state["running"] if state else 0.0, device=device)
    saved_at = time.monotonic()
    bar = tqdm(
        total=steps, initial=first, desc="training", unit=" step", mininterval=progress_interval()
    )
    with StopSignal() as stop, bar:
        for step in range(first, steps):
            positions = draw_positions(probabilities, settings["batch_size"], seed, step)
            x0, classes = data.batch(positions, device)
            torch.manual_seed(seed_for(seed, "step", step))
            t = torch.randint(objective.timesteps, (len(x0),), device=device)
            eps = torch.randn_like(x0)
            # Dropped per sample: dropping whole batches would train two networks in turns.
            dropped = torch.rand(len(x0), device=device) < settings["label_dropout"]
            classes = torch.where(dropped, denoiser.null_class, classes)

            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, settings)
            loss = objective.loss(model(objective.noisy(x0, eps, t), t, classes), x0, eps, t).mean()
            fabric.backward(loss)
            norm = torch.nn.utils.clip_grad_norm_(denoiser.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            ema.update(denoiser, step)

            running += loss.detach()
            bar.update()
            done = step + 1
            if done % log_every == 0 or done == steps:
                interval = done - (rows[-1]["step"] if rows else 0)
                mean = running.item() / interval
                running.zero_()
                refuse_divergence(mean, done)
                bar.set_postfix(loss=f"{mean:.4f}", refresh=False)
                due = done % validate_every < log_every or done == steps
                rows.append(
                    {
                        "step": done,
                        "images": done * settings["batch_size"],
                        "loss": mean,
                        "validation_loss": validation_loss(ema, objective, held_out, fabric)
                        if due
                        else None,
                        "learning_rate": learning_rate(step, settings),
                        "gradient_norm": norm.item(),
                    }
                )
            waited = time.monotonic() - saved_at
            if stop.received or waited > 60 * CHECKPOINT_MINUTES or done == steps:
                save(done)
                saved_at = time.monotonic()
            if stop.received and done < steps:
                raise InputError(
                    f"stopped by {stop.received} at step {done} of {steps}; the state is saved in "
                    f"{checkpoint.path}. Run the same command again to go on from there."
                )
    frame = pd.DataFrame(rows).astype({"validation_loss": "float64"})
    return ema.model, frame


def learning_rate(step: int, settings: dict) -> float:
    """Linear warm-up, then a cosine that reaches zero just after the last step."""
    warmup, steps = settings["warmup_steps"], settings["steps"]
    if step < warmup:
        return settings["learning_rate"] * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return settings["learning_rate"] * 0.5 * (1 + math.cos(math.pi * done))


def class_probabilities(classes: np.ndarray, sampling: str) -> np.ndarray:
    """Return the probability of drawing each image: float64 (n,).

    `natural` draws images alike; `balanced` draws classes alike; `sqrt` lies between, drawing a
    class in proportion to the square root of its size.
    """
    _, inverse, counts = np.unique(classes, return_inverse=True, return_counts=True)
    share = counts ** {"natural": 1.0, "sqrt": 0.5, "balanced": 0.0}[sampling]
    return (share / share.sum() / counts)[inverse]


def draw_positions(probabilities: np.ndarray, count: int, seed: int, step: int) -> np.ndarray:
    """Draw the images of one batch, with replacement: int64 (count,)."""
    edges = np.cumsum(probabilities)
    draws = generator(seed, "batch", step).random(count) * edges[-1]
    return np.searchsorted(edges, draws, side="right").clip(max=len(edges) - 1)


@torch.no_grad()
def validation_loss(
    ema: EMA, objective: Objective, held_out: ImageSet, fabric: Fabric, batch_size: int = 64
) -> float:
    """Return the loss of the averaged weights on held-out images, always at the same noise."""
    # Drawn on the CPU from a generator of its own: the global one belongs to the training step.
    stream = torch.Generator().manual_seed(seed_for("validation"))
    count = min(VALIDATION_IMAGES, len(held_out.classes))
    chosen = np.linspace(0, len(held_out.classes) - 1, count).astype(np.int64)
    total = 0.0
    for start in range(0, count, batch_size):
        x0, classes = held_out.batch(chosen[start : start + batch_size], fabric.device)
        t = torch.randint(objective.timesteps, (len(x0),), generator=stream).to(fabric.device)
        eps = torch.randn(x0.shape, generator=stream).to(fabric.device)
        with fabric.autocast():
            output = ema.model(objective.noisy(x0, eps, t), t, classes)
        total += objective.loss(output, x0, eps, t).sum().item()
    return total / count


class StopSignal:
    """Notes a request to stop, so that the loop can save and leave between two steps.

    SIGINT comes from Ctrl-C, SIGTERM from a person or a time limit. SIGURG is the one warning
    signal that SLURM can send ahead of a limit without Snakemake taking it for its own.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGURG)

    def __enter__(self) -> "StopSignal":
        self.received = None
        self.previous = {s: signal.signal(s, self.note) for s in self.SIGNALS}
        return self

    def note(self, number: int, frame: object) -> None:
        self.received = signal.Signals(number).name

    def __exit__(self, *error: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
