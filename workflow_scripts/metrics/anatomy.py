"""A device that measures sizes in phantom radiographs, taught by films whose truth is known.

The phantom is drawn from numbers, such as the width of the heart over that of the thorax. What
the films of one procedure look like under each of them can be learnt well enough from a thousand
of them to be read off others: off unseen films, which show how well, and off synthetic ones.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.metrics import r2_score
from sklearn.metrics.pairwise import euclidean_distances

RELIABLE = 0.8  # share of the variance in unseen films, below which nothing is measured
CELLS = 16  # across the coarse image that is looked at: hearts and effusions are large
NOISE = 0.01  # variance of what the image does not say, as a share of the size's own
MOST = 4000  # films to learn from: the effort grows with the cube


@dataclass(frozen=True)
class Device:
    """What `fit` returns."""

    process: GaussianProcessRegressor

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the size of the kind taught in each `coarse` image: float64 (n,).

        An image unlike any film is given about the mean of those taught.
        """
        return self.process.predict(x)


def fit(x: np.ndarray, sizes: np.ndarray) -> Device:
    """Teach a device by regression with a Gaussian process (Rasmussen & Williams 2006, chapter 2).

    The covariance of two films' sizes is exp(−|x − x'|² / m), x their coarse images and m the
    median of |x − x'|². Nothing is drawn at random.

    Parameters
    ----------
    x : `coarse` images, n at least 2 and, for the effort's sake, at most MOST
    sizes : float (n,), the truth
    """
    few = x[:: -(-len(x) // 500)]
    squared = euclidean_distances(few, squared=True)[np.triu_indices(len(few), 1)]
    # RBF's is exp(−|x − x'|² / 2 l²).
    kernel = RBF(np.sqrt(np.median(squared) / 2), "fixed")
    process = GaussianProcessRegressor(kernel, alpha=NOISE, optimizer=None, normalize_y=True)
    return Device(process.fit(x, sizes))


def determination(device: Device, x: np.ndarray, sizes: np.ndarray) -> float:
    """Return R² in films that the device was not taught by: NaN where there are fewer than two."""
    return float(r2_score(sizes, device.predict(x))) if len(sizes) > 1 else np.nan


def coarse(images: np.ndarray) -> np.ndarray:
    """Return images as means over squares, each with mean 0 and variance 1, float64 (n, cells).

    So exposure and contrast, which say nothing of a size, fall away.

    Parameters
    ----------
    images : uint8 (n, size, size)
    """
    count, size = images.shape[:2]
    side = max(1, size // CELLS)
    cells = size // side
    whole = images[:, : cells * side, : cells * side].astype(np.float64)
    x = whole.reshape(count, cells, side, cells, side).mean(axis=(2, 4)).reshape(count, -1)
    x -= x.mean(axis=1, keepdims=True)
    return x / np.maximum(x.std(axis=1, keepdims=True), 1e-9)
