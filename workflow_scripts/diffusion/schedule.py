"""Noise schedules of the discrete diffusion process (Ho et al. 2020).

x_t = √ᾱ_t · x_0 + √(1 − ᾱ_t) · ε, t = 0 … T − 1. A schedule is its betas; all else follows.
"""

import math

import torch


def linear_betas(timesteps: int) -> torch.Tensor:
    """Ho et al. 2020, section 4: from 1e-4 to 0.02 at T = 1000.

    Betas scale by 1000 / T. Without it ᾱ_T stays far above zero at small T (√ᾱ_T is 0.60 at
    T = 100), the mean brightness of an image never becomes noise, and samples come out washed out.

    Returns
    -------
    float64 tensor of shape (timesteps,), values in (0, 0.999]
    """
    scale = 1000 / timesteps
    betas = torch.linspace(1e-4 * scale, 0.02 * scale, timesteps, dtype=torch.float64)
    return betas.clamp(max=0.999)


def cosine_betas(timesteps: int, offset: float = 0.008) -> torch.Tensor:
    """Nichol & Dhariwal 2021, equation 17; float64 of shape (timesteps,), clipped at 0.999."""
    u = torch.linspace(0, 1, timesteps + 1, dtype=torch.float64)
    alpha_bar = torch.cos((u + offset) / (1 + offset) * math.pi / 2) ** 2
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=0.999)


def zero_terminal_snr(betas: torch.Tensor) -> torch.Tensor:
    """Shift and scale √ᾱ so that its last value is exactly 0 (Lin et al. 2024, algorithm 1)."""
    root = (1 - betas).cumprod(0).sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    alpha_bar = root**2
    alphas = torch.cat([alpha_bar[:1], alpha_bar[1:] / alpha_bar[:-1]])
    return 1 - alphas


SCHEDULES = {"linear": linear_betas, "cosine": cosine_betas}


def make_betas(schedule: str, timesteps: int, zero_snr: bool) -> torch.Tensor:
    """Return the betas of a configured schedule: float64, shape (timesteps,)."""
    betas = SCHEDULES[schedule](timesteps)
    return zero_terminal_snr(betas) if zero_snr else betas


def alpha_bars(betas: torch.Tensor) -> torch.Tensor:
    """Return ᾱ_t = ∏ (1 − β_s), s ≤ t: float64, shape (T,)."""
    return (1 - betas).cumprod(0)
