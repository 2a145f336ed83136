"""The loss on held-out images, always at the same noise, so that two networks can be compared."""

import numpy as np
import torch

from workflow_scripts.common.pixels import to_input
from workflow_scripts.common.seeds import seed_for
from workflow_scripts.diffusion.conditions import Conditions
from workflow_scripts.diffusion.network import Network
from workflow_scripts.diffusion.process import Process
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
) -> float:
    """Return the mean loss of a network on images of a split, all conditions stated.

    Noise levels lie evenly over those of training, one per image; levels and noise are the same at
    every call, and no global random state is used.

    Parameters
    ----------
    bf16 : compute the network in bfloat16
    """
    device = next(network.parameters()).device
    # Drawn on the CPU, so that they are the same on every device.
    stream = torch.Generator().manual_seed(seed_for("validation"))
    count = min(VALIDATION_IMAGES, len(split.table))
    chosen = np.linspace(0, len(split.table) - 1, count).astype(np.int64)
    u = (torch.randperm(count, generator=stream) + 0.5) / count
    c = conditions.encode(split.table.iloc[chosen])
    total = 0.0
    for start in range(0, count, BATCH):
        batch = slice(start, start + BATCH)
        x0 = to_input(split.store.gather(chosen[batch]), device)
        eps = torch.randn(x0.shape, generator=stream).to(device)
        t = process.levels(u[batch].to(device))
        x = process.network_input(process.noisy(x0, eps, t), t)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            output = network(x, process.network_time(t), c[batch].to(device))
        total += process.loss(output, x0, eps, t).sum().item()
    return total / count
