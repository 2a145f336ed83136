"""Does a probability mean what it says? Confidence against accuracy, in bins."""

import numpy as np
import pandas as pd

BINS = 15  # of equal width, as in Guo et al. 2017, On calibration of modern neural networks


def top_label(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each image's confidence, the probability of its most probable class, and its bin.

    Bin m of `BINS` holds confidences in (m / BINS, (m + 1) / BINS].

    Parameters
    ----------
    probabilities : float (..., n, K)

    Returns
    -------
    confidence : float64 (..., n)
    number : int (..., n) in [0, BINS)
    """
    confidence = np.asarray(probabilities, dtype=np.float64).max(axis=-1)
    number = np.ceil(confidence * BINS).astype(int) - 1
    return confidence, np.clip(number, 0, BINS - 1)


def reliability(probabilities: np.ndarray, class_ids: np.ndarray) -> pd.DataFrame:
    """Return how often the classifiers of an arm are right, by how sure they are.

    Parameters
    ----------
    probabilities : float (seeds, n, K); the predictions of all seeds are pooled
    class_ids : int (n,) in [0, K)

    Returns
    -------
    one row per bin that holds a prediction: `bin`, `images` (predictions), `confidence` (their
    mean), `accuracy` (share of them that are right)
    """
    confidence, number = top_label(probabilities)
    frame = pd.DataFrame(
        {
            "bin": number.ravel(),
            "confidence": confidence.ravel(),
            "accuracy": (probabilities.argmax(axis=-1) == class_ids).ravel().astype(np.float64),
        }
    )
    found = frame.groupby("bin", as_index=False).agg(
        images=("bin", "size"), confidence=("confidence", "mean"), accuracy=("accuracy", "mean")
    )
    return found.astype({"bin": "int64", "images": "int64"})
