"""How near a restored image is to the true one: PSNR, SSIM and mean absolute error of one pair.

Images are (height, width) or (height, width, channels) of any real type, both in the same units; a
`mask` (height, width) of bool says which pixels count. The data range is what the units span (1
for [0, 1], 255 for 8 bits): it is never guessed from an image.
"""

import numpy as np
from skimage.metrics import structural_similarity

# The window of Wang et al. (2004): a Gaussian of this standard deviation, cut at 3.5 of them.
WINDOW_SIGMA = 1.5
SMALLEST = 11  # pixels, the width of that window
HIGHEST = 100.0  # dB, so that one image without error leaves means and differences finite


def judge(
    truth: np.ndarray, image: np.ndarray, data_range: float, mask: np.ndarray | None = None
) -> dict[str, float]:
    """Return what a row of RESTORATION says of a pair: `psnr`, `ssim` and `mae`."""
    return {
        name: measure(truth, image, data_range, mask)
        for name, measure in (("psnr", psnr), ("ssim", ssim), ("mae", mae))
    }


def psnr(
    truth: np.ndarray, image: np.ndarray, data_range: float, mask: np.ndarray | None = None
) -> float:
    """Return 10 log₁₀(R² / MSE) in dB, the mean square error over the mask, and 100 at most.

    That is a root mean square error of 10⁻⁵ R, a fraction of a level of 16 bits.
    """
    error = np.square(difference(truth, image, data_range, mask)).mean() / data_range**2
    return min(HIGHEST, float(-10 * np.log10(error))) if error else HIGHEST


def mae(
    truth: np.ndarray, image: np.ndarray, data_range: float, mask: np.ndarray | None = None
) -> float:
    """Return the mean absolute error over the mask, as a share of the data range."""
    return float(np.abs(difference(truth, image, data_range, mask)).mean() / data_range)


def ssim(
    truth: np.ndarray, image: np.ndarray, data_range: float, mask: np.ndarray | None = None
) -> float:
    """Return the structural similarity of Wang et al. (2004), whose window is a Gaussian of σ 1.5.

    Without a mask the mean over all windows that lie inside the image; with one, the mean of the
    map of all windows (mirrored at the borders) over the pixels of the mask. Of several channels
    the mean.

    Raises
    ------
    ValueError
        If the image is smaller than a window, 11 pixels, or as of `difference`.
    """
    difference(truth, image, data_range, mask)
    if min(truth.shape[:2]) < SMALLEST:
        raise ValueError(f"SSIM needs {SMALLEST} pixels each way, got {truth.shape[:2]}")
    mean, each = structural_similarity(
        np.asarray(truth, dtype=np.float64),
        np.asarray(image, dtype=np.float64),
        data_range=data_range,
        gaussian_weights=True,
        sigma=WINDOW_SIGMA,
        use_sample_covariance=False,
        channel_axis=2 if truth.ndim == 3 else None,
        full=True,
    )
    return float(mean if mask is None else each[mask].mean())


def difference(
    truth: np.ndarray, image: np.ndarray, data_range: float, mask: np.ndarray | None = None
) -> np.ndarray:
    """Return image minus truth at the pixels of the mask: float64, (pixels,) or (pixels, channels).

    Raises
    ------
    ValueError
        If the shapes differ, the mask holds no pixel, the data range is not above 0, or a pixel is
        no finite number.
    """
    truth, image = np.asarray(truth), np.asarray(image)
    if truth.shape != image.shape or truth.ndim not in (2, 3):
        raise ValueError(f"a pair needs one shape, got {truth.shape} and {image.shape}")
    if not data_range > 0:
        raise ValueError(f"the data range must be above 0, got {data_range}")
    if mask is None:
        mask = np.ones(truth.shape[:2], dtype=bool)
    if mask.shape != truth.shape[:2] or mask.dtype != bool or not mask.any():
        raise ValueError("a mask needs the height and width of its image, and one pixel or more")
    found = image[mask].astype(np.float64) - truth[mask].astype(np.float64)
    if not np.isfinite(found).all():
        raise ValueError("an image holds values that are no finite numbers")
    return found
