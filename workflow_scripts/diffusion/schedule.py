"""Noise schedules of the discrete diffusion process (Ho et al. 2020).

x_t = √ᾱ_t · x_0 + √(1 − ᾱ_t) · ε, t = 0 … T − 1, with ᾱ_t = ∏ (1 − β_s), s ≤ t. The signal-to-noise
ratio is SNR = ᾱ / (1 − ᾱ). All here is float64 of shape (T,).
"""

import math

import torch
from torch import Tensor


def linear_betas(timesteps: int) -> Tensor:
    """Ho et al. 2020, section 4: from 1e-4 to 0.02 at T = 1000.

    Betas scale by 1000 / T. Without it ᾱ_T stays far above zero at small T (√ᾱ_T is 0.60 at
    T = 100), the mean brightness of an image never becomes noise, and samples come out washed out.

    Returns
    -------
    values in (0, 0.999]
    """
    scale = 1000 / timesteps
    betas = torch.linspace(1e-4 * scale, 0.02 * scale, timesteps, dtype=torch.float64)
    return betas.clamp(max=0.999)


def cosine_betas(timesteps: int, offset: float = 0.008) -> Tensor:
    """Nichol & Dhariwal 2021, equation 17: ᾱ is a squared cosine; betas in (0, 0.999]."""
    f = torch.cos((times(timesteps) + offset) / (1 + offset) * math.pi / 2) ** 2
    return betas_of(f / math.cos(offset / (1 + offset) * math.pi / 2) ** 2)


def sigmoid_betas(
    timesteps: int, start: float = -3, end: float = 3, temperature: float = 1
) -> Tensor:
    """Jabri et al. 2022: ᾱ is a stretched piece of a sigmoid; betas in (0, 0.999]."""
    ends = torch.tensor([start, end], dtype=torch.float64)
    first, last = (ends / temperature).sigmoid()
    f = ((start + (end - start) * times(timesteps)) / temperature).sigmoid()
    return betas_of((last - f) / (last - first))


def times(timesteps: int) -> Tensor:
    """Return 1/T, 2/T … 1."""
    return torch.arange(1, timesteps + 1, dtype=torch.float64) / timesteps


def betas_of(alpha_bar: Tensor) -> Tensor:
    """Return the betas whose ᾱ is the given one, but none above 0.999."""
    before = torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]])
    return (1 - alpha_bar / before).clamp(max=0.999)


def shift_log_snr(alpha_bar: Tensor, shift: float) -> Tensor:
    """Add to log SNR at every time step (Hoogeboom et al. 2023), for ᾱ in (0, 1)."""
    return (alpha_bar.logit() + shift).sigmoid()


def resolution_shift(settings: dict, image_size: int) -> float:
    """Return what to add to log SNR, 2 log(64 / size), or 0 where the settings want no shift.

    The same noise hides less of a larger image, since neighbouring pixels average it away. The
    schedules were made for 64 pixels.
    """
    return 2 * math.log(64 / image_size) if settings["resolution_shift"] else 0.0


def zero_terminal_snr(alpha_bar: Tensor) -> Tensor:
    """Shift and scale √ᾱ so that its last value is exactly 0 (Lin et al. 2024, algorithm 1)."""
    root = alpha_bar.sqrt()
    return ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2


SCHEDULES = {"linear": linear_betas, "cosine": cosine_betas, "sigmoid": sigmoid_betas}


def alpha_bars(settings: dict, image_size: int) -> Tensor:
    """Return ᾱ of a configured process: schedule, then resolution shift, then zero terminal SNR.

    Parameters
    ----------
    settings : the configuration section `diffusion` of a model whose process is ddpm
    image_size : height and width in pixels
    """
    if settings["schedule"] == "betas":
        betas = torch.tensor(settings["betas"], dtype=torch.float64)
    else:
        betas = SCHEDULES[settings["schedule"]](settings["timesteps"])
    alpha_bar = (1 - betas).cumprod(0)
    alpha_bar = shift_log_snr(alpha_bar, resolution_shift(settings, image_size))
    return zero_terminal_snr(alpha_bar) if settings["zero_terminal_snr"] else alpha_bar
