"""What can be said of a radiograph before anybody knows what it shows: grey, texture, edges.

Each measure is taken of every image alone; sets are compared by the means over their images.
"""

from dataclasses import dataclass

import numpy as np
from scipy.fft import rfft2
from scipy.sparse import csr_array

from workflow_scripts.metrics.estimates import blocks

LEVELS = 256
# Variance of rounding to whole grey levels: less power than that no stored image tells apart.
ROUNDING = 1 / 12
EDGE = 95  # percentile of the gradient's magnitude: a film's edges are fewer than its surfaces


@dataclass(frozen=True)
class Profiles:
    """What was measured of n images, one row per image.

    intensity : share of the pixels at each grey level, float64 (n, 256)
    spectrum : power at 1 … size/2 cycles per image, in squared grey levels, float64 (n, size/2)
    sharpness : in grey levels per pixel, float64 (n,)
    """

    intensity: np.ndarray
    spectrum: np.ndarray
    sharpness: np.ndarray

    def __len__(self) -> int:
        return len(self.sharpness)


def profiles(images: np.ndarray) -> Profiles:
    """Measure images, uint8 (n, size, size)."""
    parts = [
        (intensities(images[block]), spectra(images[block]), sharpness(images[block]))
        for block in blocks(len(images), 128)
    ]
    return Profiles(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def intensities(images: np.ndarray) -> np.ndarray:
    """Return the share of each image's pixels at each grey level, float64 (n, 256)."""
    pixels = images.reshape(len(images), -1)
    counts = np.stack([np.bincount(image, minlength=LEVELS) for image in pixels])
    return counts / pixels.shape[1]


def spectra(images: np.ndarray) -> np.ndarray:
    """Return the radially averaged power spectrum of each image, float64 (n, size // 2).

    P(f) = |F[w (x − x̄)](f)|² / Σ w², averaged over frequencies whose distance from 0 rounds to
    1, 2, … size/2 cycles per image. w is Hann's window, without which the borders of the film,
    which do not continue on the other side, would show as a cross. White noise has its variance at
    every frequency.
    """
    size = images.shape[-1]
    window = np.hanning(size + 1)[:-1]
    window = np.outer(window, window)
    centred = images - images.mean(axis=(1, 2), keepdims=True)
    power = np.abs(rfft2(centred * window)) ** 2 / np.square(window).sum()
    return power.reshape(len(images), -1) @ rings(size)


def rings(size: int) -> csr_array:
    """Return the matrix that averages half a spectrum, as `rfft2` gives it, over rings."""
    down, across = np.fft.fftfreq(size, 1 / size), np.arange(size // 2 + 1)
    radius = np.rint(np.hypot(down[:, None], across)).astype(np.int64)
    # The other half is this one's mirror image; the first column is its own, and so is the last.
    twice = np.broadcast_to(np.where((across == 0) | (2 * across == size), 1.0, 2.0), radius.shape)
    row = np.flatnonzero((radius >= 1) & (radius <= size // 2))
    ring, weight = radius.ravel()[row] - 1, twice.ravel()[row]
    total = np.bincount(ring, weight)
    return csr_array((weight / total[ring], (row, ring)), shape=(radius.size, size // 2))


def sharpness(images: np.ndarray) -> np.ndarray:
    """Return how steep the edges of each image are, float64 (n,), in grey levels per pixel.

    The 95th percentile over the image of |∇x|, by central differences.
    """
    x = images.astype(np.float32)
    down, across = x[:, 2:, 1:-1] - x[:, :-2, 1:-1], x[:, 1:-1, 2:] - x[:, 1:-1, :-2]
    steep = np.hypot(down, across).reshape(len(x), -1) / 2
    return np.percentile(steep, EDGE, axis=1).astype(np.float64)


def decibels(power: np.ndarray) -> np.ndarray:
    """Return power in dB over one squared grey level, rounding to whole grey levels included."""
    return 10 * np.log10(power + ROUNDING)


def intensity_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Return how far apart two sets' histograms are, in grey levels.

    Wasserstein-1: the mean way that grey has to go, ∫ |F(g) − G(g)| dg.

    Parameters
    ----------
    x, y : `intensity` of the sets
    """
    difference = np.cumsum(x.mean(axis=0) - y.mean(axis=0))
    return float(np.abs(difference[:-1]).sum())


def spectrum_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Return the mean absolute difference in dB of two sets' mean spectra, up to Nyquist.

    Parameters
    ----------
    x, y : `spectrum` of the sets
    """
    return float(np.abs(decibels(x.mean(axis=0)) - decibels(y.mean(axis=0))).mean())


def sharpness_ratio(x: np.ndarray, y: np.ndarray) -> float:
    """Return how many times as sharp the first set's edges are on average: below 1, blurred.

    Parameters
    ----------
    x, y : `sharpness` of the sets
    """
    reference = y.mean()
    return float(x.mean() / reference) if reference > 0 else np.nan
