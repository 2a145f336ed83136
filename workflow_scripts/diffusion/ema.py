"""Exponential moving average of the weights."""

import copy

import torch
from torch import nn


class EMA:
    """θ' ← d θ' + (1 − d) θ after each step, with d = min(decay, (1 + step) / (10 + step)).

    The warm-up lets the average forget the random initial weights within the first steps.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after `step` (counted from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averaged = list(self.model.parameters())
        torch._foreach_lerp_(averaged, [p.detach() for p in model.parameters()], 1 - decay)
