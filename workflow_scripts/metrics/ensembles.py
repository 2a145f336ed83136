"""Whether drawn answers scatter as the truth does about them: calibration of a posterior.

If the truth and K answers are drawn from one distribution, the truth's rank among them is uniform,
whatever the distribution and however small K is (Talagrand diagrams; Hamill 2001), and it lies K + 1 to K
times further from their mean, in squares, than they themselves do on average.
"""

import numpy as np


def rank_shares(
    truth: np.ndarray, answers: np.ndarray, mask: np.ndarray | None = None
) -> np.ndarray:
    """Return how often the truth of an image exceeds 0, 1, …, K of K answers: float64 (K + 1,).

    Shares of the pixels, and of channels. Where answers are equal to the truth, as in clipped black,
    the ranks between which it lies get equal parts.

    Parameters
    ----------
    truth : (h, w) or (h, w, c)
    answers : (K, h, w) or (K, h, w, c)
    mask : bool (h, w) of the pixels that count; None: all
    """
    inside = np.ones(truth.shape[:2], dtype=bool) if mask is None else mask
    truth, answers = truth[inside].ravel(), answers[:, inside].reshape(len(answers), -1)
    below = (answers < truth).sum(axis=0)
    equal = (answers == truth).sum(axis=0)
    count = len(answers)
    # Each pixel adds 1 / (equal + 1) to the ranks below, …, below + equal: the running sum of steps.
    steps = np.zeros(count + 2)
    np.add.at(steps, below, 1 / (equal + 1))
    np.add.at(steps, below + equal + 1, -1 / (equal + 1))
    return steps.cumsum()[:-1] / truth.size


def coverage(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how often the truth should lie, and lies, in the intervals that answers span.

    Interval j lies between the j-th smallest and the j-th largest of K answers, j = 1 … K // 2: a
    truth of their distribution is inside with probability (K + 1 − 2j) / (K + 1).

    Parameters
    ----------
    shares : (…, K + 1) from `rank_shares`

    Returns
    -------
    expected : float64 (K // 2,)
    found : (…, K // 2)
    """
    count = shares.shape[-1] - 1
    cuts = range(1, count // 2 + 1)
    expected = np.array([(count + 1 - 2 * j) / (count + 1) for j in cuts])
    return expected, np.stack([shares[..., j : count + 1 - j].sum(axis=-1) for j in cuts], axis=-1)


def squares(
    truth: np.ndarray, answers: np.ndarray, mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return of each pixel the squared error of the answers' mean, and what it should be on average.

    That is their variance times (K + 1) / K: the mean of K answers is itself uncertain. Both float64
    (pixels,) or, of several channels, (pixels × channels,).

    Parameters
    ----------
    truth, answers, mask : as of `rank_shares`, K >= 2
    """
    inside = np.ones(truth.shape[:2], dtype=bool) if mask is None else mask
    truth = truth[inside].astype(np.float64).ravel()
    answers = answers[:, inside].astype(np.float64).reshape(len(answers), -1)
    error = np.square(answers.mean(axis=0) - truth)
    return error, answers.var(axis=0, ddof=1) * (1 + 1 / len(answers))


def by_spread(
    truths: list[np.ndarray],
    answers: list[np.ndarray],
    masks: list[np.ndarray | None],
    bins: int = 10,
) -> list[dict]:
    """Return the error where answers scatter little and where they scatter much.

    A pixel's variance, estimated from few answers, is too small where it is small by chance: half of
    the answers say in which bin a pixel is, the other half what it is there; both halves take turns.

    Parameters
    ----------
    truths, answers, masks : of each image, as of `rank_shares`; K >= 4
    bins : equally many pixels in each

    Returns
    -------
    of each bin, from little spread to much: `bin`, `pixels`, `spread` (root of the mean expected
    square) and `error` (root mean square)
    """
    half = len(answers[0]) // 2
    sums = np.zeros((3, bins))
    for first, second in (
        (slice(0, half), slice(half, 2 * half)),
        (slice(half, 2 * half), slice(0, half)),
    ):
        chooses, error, expected = [], [], []
        for truth, of_image, mask in zip(truths, answers, masks, strict=True):
            chooses.append(squares(truth, of_image[first], mask)[1])
            found = squares(truth, of_image[second], mask)
            error.append(found[0])
            expected.append(found[1])
        chooses = np.concatenate(chooses)
        place = np.empty(len(chooses), dtype=np.int64)
        place[np.argsort(chooses, kind="stable")] = np.arange(len(chooses)) * bins // len(chooses)
        for row, values in enumerate(
            (np.ones(len(chooses)), *map(np.concatenate, (expected, error)))
        ):
            sums[row] += np.bincount(place, values, minlength=bins)
    pixels, expected, error = sums
    return [
        {
            "bin": number,
            "pixels": int(pixels[number]) // 2,
            "spread": float(np.sqrt(expected[number] / pixels[number])),
            "error": float(np.sqrt(error[number] / pixels[number])),
        }
        for number in range(bins)
        if pixels[number]
    ]
