"""Grids: at which noise levels a sampler calls the network."""

import math

import numpy as np

from workflow_scripts.common.errors import InputError
from workflow_scripts.diffusion.process import DDPM, EDM, Level, Process

KARRAS_RHO = 7


def grid(
    process: Process,
    steps: int,
    spacing: str = "auto",
    sigma_min: float | None = None,
    sigma_max: float | None = None,
) -> list[Level]:
    """Return the levels of a sampler, from the noisiest on.

    Parameters
    ----------
    steps : their number; the end, the clean image, is not among them
    spacing : `trailing` spaces evenly in time and starts where training ended (Lin et al. 2024,
        section 3.3), `karras` in (σ/α)^(1/7) (Karras et al. 2022, equation 5), `log_snr` in log
        SNR; `auto` is `karras` for process edm, else `trailing`
    sigma_min, sigma_max : keep to this range of σ/α, and to the process's own

    Raises
    ------
    InputError
        If the range holds too few levels, or the process has no such spacing.
    """
    low, high = process.sigma_range
    low = max(low, sigma_min or low)
    # Only an evenly spaced grid can begin in pure noise: a level of infinite σ/α.
    finite = min(high, sigma_max or high)
    if not low < finite:
        raise InputError(
            f"sigma_min {sigma_min} and sigma_max {sigma_max} leave nothing of the noise levels "
            f"{process.sigma_range[0]:.4g} to {high:.4g} of the process. Widen the sampler's "
            "range, or leave both null."
        )
    if spacing == "auto":
        spacing = "karras" if isinstance(process, EDM) else "trailing"
    if spacing == "trailing":
        times = trailing(process, steps, low, sigma_max or math.inf)
        return [process.level(t) for t in times]
    if spacing == "log_snr":
        ratios = np.geomspace(finite, low, steps)
    else:
        root = 1 / KARRAS_RHO
        ratios = np.linspace(finite**root, low**root, steps) ** KARRAS_RHO
    return [process.level_at(ratio) for ratio in ratios.tolist()]


def trailing(process: Process, steps: int, low: float, high: float) -> list[float]:
    """Return evenly spaced times from the noisiest on, at levels `low` <= σ/α <= `high`.

    The range of times is divided by `steps`, and the time at the end of each part is taken. Those
    of a discrete process are whole: round(T − i T / steps) − 1 where all are in the range.
    """
    if isinstance(process, EDM):
        raise InputError(
            "spacing trailing divides the time of training evenly, and the time of process edm is σ, "
            "which has no end. Use spacing auto, karras or log_snr for this model."
        )
    if not isinstance(process, DDPM):
        first, last = process.time(low), process.time(high)
        return [last - i * (last - first) / steps for i in range(steps)]
    inside = process.timesteps[(process.ratios >= low) & (process.ratios <= high)]
    count = len(inside)
    if steps > count:
        raise InputError(
            f"{steps} steps, but the process has {count} time steps in the sampler's range. Lower "
            "the sampler's steps, widen its range, or use spacing karras or log_snr."
        )
    return [float(inside[round(count - i * count / steps) - 1]) for i in range(steps)]
