"""Non-local means, told what a network is told: the noise's kind and variance."""

from functools import cache

import numpy as np
from scipy.special import ive
from skimage.restoration import denoise_nl_means

# Means of Rice's distribution from which its location is read: in units of σ, up to where the mean
# exceeds the location by less than a thousandth of σ.
STEPS, FARTHEST = 20_001, 500.0


def non_local_means(
    image: np.ndarray, kind: str, variance: float, strength: float, settings: dict
) -> np.ndarray:
    """Return an image denoised by non-local means (Buades, Coll & Morel 2005): float32.

    scikit-image's fast mode at h = strength σ, told σ. Magnitudes are brighter than their signal,
    most so in the dark: of rician noise the signal is found of which the result is the mean.

    Parameters
    ----------
    image : (h, w) or (h, w, c), noisy, about in [0, 1]
    kind : gaussian or rician
    variance : of the noise, σ²
    strength : h / σ
    settings : configuration of the method: `patch_size` and `patch_distance` in pixels
    """
    sigma = float(np.sqrt(variance))
    found = denoise_nl_means(
        image.astype(np.float64),
        patch_size=settings["patch_size"],
        patch_distance=settings["patch_distance"],
        h=strength * sigma,
        sigma=sigma,
        fast_mode=True,
        channel_axis=2 if image.ndim == 3 else None,
    )
    return (location(found, sigma) if kind == "rician" else found).astype(np.float32)


def rician_mean(location: np.ndarray, sigma: float) -> np.ndarray:
    """Return the mean of magnitudes |a + σ (n_1 + i n_2)|: σ √(π/2) L_½(−a² / 2σ²) (Rice 1945)."""
    x = np.square(np.asarray(location, dtype=np.float64) / sigma) / 4
    # L_½(−2x) = e^(−x) [(1 + 2x) I_0(x) + 2x I_1(x)], with Bessel functions that do not overflow.
    return sigma * np.sqrt(np.pi / 2) * ((1 + 2 * x) * ive(0, x) + 2 * x * ive(1, x))


def location(mean: np.ndarray, sigma: float) -> np.ndarray:
    """Return the signal a of which magnitudes have this mean; 0 where none has (Koay & Basser 2006)."""
    means, signals = rician_table()
    scaled = np.asarray(mean, dtype=np.float64) / sigma
    found = np.interp(scaled, means, signals, left=0.0, right=np.nan)
    return sigma * np.where(np.isnan(found), scaled, found)


@cache
def rician_table() -> tuple[np.ndarray, np.ndarray]:
    """Return means of magnitudes, rising, and the signals that have them, both in units of σ."""
    signals = np.linspace(0, FARTHEST, STEPS)
    return rician_mean(signals, 1.0), signals
