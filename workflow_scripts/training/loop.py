"""The training loop."""

import math
import signal
import time
from collections.abc import Callable

import torch
from lightning_fabric import Fabric
from torch import Tensor
from tqdm import tqdm

from workflow_scripts.common.devices import can_compile
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.runtime import progress_interval
from workflow_scripts.common.seeds import seed_for
from workflow_scripts.diffusion.network import Network
from workflow_scripts.diffusion.process import Process
from workflow_scripts.training.batches import Batches
from workflow_scripts.training.checkpoint import Checkpoint
from workflow_scripts.training.ema import PowerAverage
from workflow_scripts.training.parallel import Agreement, StopSignal

# No settings: as part of the configuration they would make another model of the same weights.
LOG_POINTS = 100  # rows of the training log
VALIDATIONS = 10  # of which this many carry a validation loss
DIVERGED = 4  # times the mean loss of the first row
JUDGED = 64  # images, on both sides of that comparison: the losses of fewer scatter too much
CLIP = 1.0  # greatest norm of a gradient


def train(
    fabric: Fabric,
    network: Network,
    process: Process,
    batches: Batches,
    settings: dict,
    checkpoint: Checkpoint,
    validate: Callable[[Network], float],
    observe: Callable[[int, Network, dict[int, Tensor]], None] = lambda *_: None,
) -> dict:
    """Train a network and return the state after the last step, which is also in `checkpoint`.

    Several processes do the same at the same time, each with its part of the batches; the first
    validates, observes and saves. Between points of the log nothing waits for the device.

    Parameters
    ----------
    network : untrained, the same in every process; moved to the device
    settings : the configuration section `training` of a model
    checkpoint : read at the start, written when it is due, on a signal to stop, and at the end
    validate : gives the held-out loss of the short average; logged, nothing is chosen by it
    observe : called as often with the step, the short average, and the dictionary `pictures`. What
        it puts there is saved with the state.

    Returns
    -------
    `step`; `rows` of TRAINING_LOG; `pictures`; and weights by name: `network`, and the averages
    `short`, `long`, and `early`, which is `short` as it stood at a quarter of the steps

    Raises
    ------
    InputError
        If the loss diverges, or a signal asks to stop: the message says how to go on.
    """
    device, steps = fabric.device, settings["steps"]
    network.to(device)
    if device.type == "cuda":
        network.to(memory_format=torch.channels_last)
    short, long = (PowerAverage(network, width) for width in settings["ema"])
    optimizer = torch.optim.AdamW(
        network.parameters(), weight_decay=settings["weight_decay"], fused=True
    )
    first, rows, pictures, early = 0, [], {}, {}
    running = torch.zeros(2, device=device)  # sums of loss and gradient norm since the last row
    if saved := checkpoint.load():
        network.load_state_dict(saved["network"])
        short.network.load_state_dict(saved["short"])
        long.network.load_state_dict(saved["long"])
        optimizer.load_state_dict(saved["optimizer"])
        # In the order of the parameters in memory, which is another on a GPU: the fused step takes
        # for granted that they share it.
        for parameter, moments in optimizer.state.items():
            for name in ("exp_avg", "exp_avg_sq"):
                moments[name] = torch.empty_like(parameter).copy_(moments[name])
        sums = saved["running"].to(device)  # of each process
        running += sums[fabric.global_rank] if len(sums) == fabric.world_size else sums.mean(0)
        first, rows, pictures, early = (saved[k] for k in ("step", "rows", "pictures", "early"))
        del saved  # as large as all that is trained
    compiled = torch.compile(network) if can_compile(device) else network
    model, stepper = fabric.setup(compiled, optimizer)
    model.train()

    def means(done: int) -> tuple[float, float]:
        """Return loss and gradient norm since the last row, over all processes; both are sound.

        That is, finite, and the loss not far above that of the first row, where it can be judged.
        """
        count = done - (rows[-1]["step"] if rows else 0)
        loss, norm = (fabric.all_reduce(running.clone()) / max(1, count)).tolist()
        judged = rows and min(count, rows[0]["step"]) * settings["batch_size"] >= JUDGED
        limit = DIVERGED * rows[0]["loss"] if judged else math.inf
        if not math.isfinite(loss) or not math.isfinite(norm) or loss > limit:
            raise InputError(
                f"training has diverged: at step {done} the loss is {loss:.4g} and the norm of its "
                f"gradient {norm:.4g}. The last good state is "
                f"{checkpoint.path if checkpoint.path.exists() else 'the start'}. Lower "
                "training.learning_rate, or lengthen training.warmup_steps."
            )
        return loss, norm

    def state(done: int) -> dict:
        return {
            "step": done,
            "rows": rows,
            "pictures": pictures,
            "network": network.state_dict(),
            "short": short.network.state_dict(),
            "long": long.network.state_dict(),
            "early": early,
            "optimizer": optimizer.state_dict(),
        }

    def save(done: int) -> None:
        means(done)  # nothing that is seen to be bad is saved
        sums = fabric.all_gather(running).reshape(-1, 2)
        if fabric.is_global_zero:
            checkpoint.save(state(done) | {"running": sums})
        fabric.barrier()

    log_every = max(1, steps // LOG_POINTS)
    validate_every = max(1, steps // VALIDATIONS)
    agreement = Agreement(fabric)
    started = time.monotonic()
    bar = tqdm(
        total=steps,
        initial=first,
        desc="training",
        unit=" step",
        mininterval=progress_interval(),
        disable=not fabric.is_global_zero,
    )
    with StopSignal() as stop, bar:
        for step in range(first, steps):
            done = step + 1
            x0, eps, u, c, given = batches[step]
            t = process.levels(u)
            x = process.network_input(process.noisy(x0, eps, t), t)
            if given is not None:
                x = torch.cat([x, given], dim=1)
            torch.manual_seed(seed_for(settings["seed"], "dropout", step, fabric.global_rank))
            loss = process.loss(model(x, process.network_time(t), c), x0, eps, t, given).mean()
            fabric.backward(loss)
            norm = torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, settings)
            stepper.step()
            stepper.zero_grad()
            short.update(network, done)
            long.update(network, done)
            running += torch.stack([loss.detach(), norm])
            if done == max(1, steps // 4):
                early = {k: v.cpu().clone() for k, v in short.network.state_dict().items()}

            bar.update()
            if done % log_every == 0 or done == steps:
                mean_loss, mean_norm = means(done)
                running.zero_()
                held_out = None
                if (done % validate_every < log_every or done == steps) and fabric.is_global_zero:
                    held_out = validate(short.network)
                    observe(done, short.network, pictures)
                rows.append(
                    {
                        "step": done,
                        "images": done * settings["batch_size"],
                        "loss": mean_loss,
                        "validation_loss": held_out,
                        "learning_rate": learning_rate(step, settings),
                        "gradient_norm": mean_norm,
                    }
                )
                speed = (done - first) * settings["batch_size"] / (time.monotonic() - started)
                bar.set_postfix_str(f"{speed:.0f} images/s, loss {mean_loss:.4f}", refresh=False)

            overdue = checkpoint.overdue and fabric.is_global_zero
            stopped, overdue = agreement.reached(done, stop.number, overdue)
            if stopped or overdue or checkpoint.falls_on(done) or done == steps:
                save(done)
            if stopped and done < steps:
                raise InputError(
                    f"stopped by {signal.Signals(stopped).name} at step {done} of {steps}; the state "
                    f"is saved in {checkpoint.path}. Run the same command again to go on from there."
                )
    return state(steps)


def learning_rate(step: int, settings: dict) -> float:
    """Linear warm-up, then a cosine that reaches zero just after the last step."""
    warmup, steps = settings["warmup_steps"], settings["steps"]
    if step < warmup:
        return settings["learning_rate"] * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return settings["learning_rate"] * 0.5 * (1 + math.cos(math.pi * done))
