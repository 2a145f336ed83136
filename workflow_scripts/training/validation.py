"""The loss on held-out images, always at the same noise, so that two networks can be compared."""

import numpy as np
import torch

from workflow_scripts.common.pixels import to_input
from workflow_scripts.common.seeds import seed_for
from workflow_scripts.diffusion.conditions import Conditions
from workflow_scripts.diffusion.degradation import Degradation
from workflow_scripts.diffusion.network import Network, beside
from workflow_scripts.diffusion.process import Process, Regression
from workflow_scripts.training.batches import Split

VALIDATION_IMAGES = 512  # evenly spaced ones, where the split has more
BATCH = 64


@torch.inference_mode()
def validation_loss(
    network: Network,
    process: Process,
    conditions: Conditions,
    split: Split,
    bf16: bool = False,
    degradation: Degradation | None = None,
) -> float:
    """Return the mean loss of a network on images of a split, all conditions stated.

    Noise levels lie evenly over those of training, one per image; levels and noise are the same at
    every call, and no global random state is used.

    Parameters
    ----------
    bf16 : compute the network in bfloat16
    degradation : of the image that the network is given, and a regressor sees alone
    """
    device = next(network.parameters()).device
    # Drawn on the CPU, so that they are the same on every device.
    stream = torch.Generator().manual_seed(seed_for("validation"))
    count = min(VALIDATION_IMAGES, len(split.table))
    chosen = np.linspace(0, len(split.table) - 1, count).astype(np.int64)
    u = (torch.randperm(count, generator=stream) + 0.5) / count
    variance = torch.zeros(count) if degradation is None else degradation.in_turn(count)
    known = split.table.iloc[chosen].assign(noise_variance=variance.double().numpy())
    c = conditions.encode(known)
    total = 0.0
    for start in range(0, count, BATCH):
        batch = slice(start, start + BATCH)
        x0 = to_input(split.store.gather(chosen[batch]), device)
        eps, given = process.eps(x0.shape, stream).to(device), None
        if degradation is not None:
            shape = (len(x0), degradation.draws, *x0.shape[1:])
            normal = torch.randn(shape, generator=stream).to(device)
            given = degradation(x0, normal, variance[batch].to(device))
            if isinstance(process, Regression):
                eps, given = given - x0, None
        t = process.levels(u[batch].to(device))
        x = process.network_input(process.noisy(x0, eps, t), t)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            output = beside(network, given)(x, process.network_time(t), c[batch].to(device))
        total += process.loss(output, x0, eps, t, given).sum().item()
    return total / count
