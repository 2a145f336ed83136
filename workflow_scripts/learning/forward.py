"""Noising one step at a time, as the process is defined."""

import torch
from torch import Tensor

from workflow_scripts.common.seeds import seed_for
from workflow_scripts.diffusion.schedule import betas_of


def step_by_step(x0: Tensor, alpha_bar: Tensor, seed: int = 0) -> Tensor:
    """Draw x_t ~ N(√(1 − β_t) x_{t−1}, β_t) for t = 0 … T − 1: float32 (T, *shape of x0).

    Parameters
    ----------
    x0 : float32
    alpha_bar : ᾱ of the schedule, (T,)
    """
    stream = torch.Generator().manual_seed(seed_for(seed, "forward"))
    x, passed = x0, []
    for beta in betas_of(alpha_bar).tolist():
        fresh = torch.randn(x.shape, generator=stream)
        x = (1 - beta) ** 0.5 * x + beta**0.5 * fresh
        passed.append(x)
    return torch.stack(passed)
