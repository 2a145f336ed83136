"""Averages of the weights over training, whose length can be chosen when training has ended.

Karras, Aittala, Lehtinen, Hellsten, Aila & Laine, "Analyzing and improving the training dynamics of
diffusion models", 2024 (EDM2), sections 3.1 and 3.2, appendix C.
"""

import copy
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn


def exponent(width: float) -> float:
    """Return γ of a width σ_rel = √(γ + 1) / ((γ + 2) √(γ + 3)), equation 127.

    Parameters
    ----------
    width : standard deviation of the averaging profile as a share of the length of training, in
        (0, 0.28]; 0.10 weighs about the last quarter of the training
    """
    t = width**-2
    # σ_rel⁻² (γ + 1) = (γ + 2)² (γ + 3)
    return float(np.roots([1, 7, 16 - t, 12 - t]).real.max())


class PowerAverage:
    """The power-function average θ̂_t = Σ_s (s^(γ+1) − (s − 1)^(γ+1)) θ_s / t^(γ+1), s = 1 … t.

    Its length grows with training, so it forgets the random start by itself, at every length alike.

    Attributes
    ----------
    network : a copy of the network, in evaluation mode, with the average as its weights
    """

    def __init__(self, network: nn.Module, width: float):
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.power = exponent(width) + 1

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """θ̂ ← β θ̂ + (1 − β) θ, β = (1 − 1/step)^(γ+1), after `step`, counted from 1 (equation 121)."""
        beta = (1 - 1 / step) ** self.power
        torch._foreach_lerp_(
            list(self.network.parameters()),
            [parameter.detach() for parameter in network.parameters()],
            1 - beta,
        )


def widths_between(short: float, long: float, count: int = 5) -> list[float]:
    """Return `count` widths from `short` to `long`, both among them, in equal ratios."""
    between = np.geomspace(short, long, count)[1:-1].tolist()
    return [short, *between, long]


def coefficients(widths: tuple[float, float], wanted: float) -> tuple[float, float]:
    """Return how much of two averages makes the nearest to one of another width; they sum to 1.

    Least squares over the profiles p(s) = (γ + 1) s^γ / T^(γ+1) on [0, T] (section 3.2): with Gram
    matrix A and inner products b it is A x = b, where ⟨p_a, p_b⟩ = (a + 1)(b + 1) / ((a + b + 1) T).
    """
    if wanted in widths:
        return float(wanted == widths[0]), float(wanted != widths[0])
    known = np.array([exponent(width) for width in widths])
    gram = inner(known[:, None], known[None, :])
    x = np.linalg.solve(gram, inner(known, exponent(wanted)))
    first, second = (x / x.sum()).tolist()
    return first, second


def inner(a: np.ndarray, b: np.ndarray | float) -> np.ndarray:
    """Return T ⟨p_a, p_b⟩ for exponents a and b."""
    return (a + 1) * (b + 1) / (a + b + 1)


def combined(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], shares: tuple[float, float]
) -> dict[str, Tensor]:
    """Return the weighted sum of two sets of weights of the same names, in their own dtypes."""
    a, b = shares
    return {name: a * first[name] + b * second[name] for name in first}
