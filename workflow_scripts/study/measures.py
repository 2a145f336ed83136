"""How good predictions are, under many weightings of the images at once (as in metrics/ranking.py)."""

import numpy as np
from scipy.sparse import csr_array

from workflow_scripts.common.schemas import MACRO
from workflow_scripts.metrics.ranking import Ranking
from workflow_scripts.study.calibration import BINS, top_label


def names(classes: list[str]) -> list[tuple[str, str]]:
    """Return (metric, class name) of each row that `Measures` returns, `MACRO` for all classes."""
    ranked = [(metric, name) for metric in ("auroc", "auprc") for name in [*classes, MACRO]]
    whole = ("balanced_accuracy", "brier", "calibration_error")
    return [*ranked, *((metric, MACRO) for metric in whole)]


class Measures:
    """Every measure of one classifier's predictions, under any weighting of the images.

    AUROC and AUPRC of one class against the rest, and their unweighted mean over
    classes: a rare class counts as much as a common one. Where one class is undefined, so is the
    mean. Balanced accuracy is the mean over classes of the share of a class's images given to it,
    an image being given to its most probable class. The Brier score is the mean over images of
    sum_k (p_k - y_k)^2, in [0, 2] (Brier 1950). The calibration error is that of the most probable
    class, sum over bins of |right - sum of confidence| / images (expected calibration error, Guo
    et al. 2017; bins as in `calibration`).

    Parameters
    ----------
    probabilities : float (n, K)
    class_ids : int (n,) in [0, K)
    """

    def __init__(self, probabilities: np.ndarray, class_ids: np.ndarray) -> None:
        count, self.classes = probabilities.shape
        probabilities = np.asarray(probabilities, dtype=np.float64)
        truth = class_ids[:, None] == np.arange(self.classes)
        self.rankings = [
            Ranking(probabilities[:, number], truth[:, number]) for number in range(self.classes)
        ]
        right = (probabilities.argmax(axis=1) == class_ids).astype(np.float64)
        confidence, number = top_label(probabilities)
        # Sums over images: right and all by class, right minus confidence by bin, squared errors.
        values = [
            right,
            np.ones(count),
            right - confidence,
            np.square(probabilities - truth).sum(axis=1),
        ]
        k = self.classes
        rows = [class_ids, k + class_ids, 2 * k + number, np.full(count, 2 * k + BINS)]
        self.sums = csr_array(
            (np.concatenate(values), (np.concatenate(rows), np.tile(np.arange(count), 4))),
            shape=(2 * k + BINS + 1, count),
        )

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Return every measure under each weighting, in the order of `names`.

        Parameters
        ----------
        weights : (n, b) as in `Ranking`

        Returns
        -------
        float64 (2 K + 5, b); NaN where a weighting leaves a class without images
        """
        each = np.array([ranking(weights) for ranking in self.rankings])  # (K, 2, b)
        auroc, average = each[:, 0], each[:, 1]
        ends = np.cumsum([self.classes, self.classes, BINS])
        right, members, gaps, squares = np.split(self.sums @ weights, ends)
        images = members.sum(axis=0)
        with np.errstate(invalid="ignore"):
            balanced = (right / members).mean(axis=0)
        return np.vstack(
            [
                *(auroc, auroc.mean(axis=0)),
                *(average, average.mean(axis=0)),
                balanced,
                squares[0] / images,
                np.abs(gaps).sum(axis=0) / images,
            ]
        )
