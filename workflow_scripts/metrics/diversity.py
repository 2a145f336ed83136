"""How different the images of one class are from each other.

Sources: LPIPS (Zhang et al. 2018), MS-SSIM (Wang, Simoncelli & Bovik 2003). Both as in torchmetrics.
"""

import re
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure
from torchmetrics.functional.image.lpips import _LPIPS

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.levels import grey
from workflow_scripts.common.pixels import to_input
from workflow_scripts.metrics.estimates import Estimate, group_codes

BACKBONES = {"alex": "alexnet", "squeeze": "squeezenet1_1"}
SLICE = re.compile(r"^slices?\.?\d+\.")
BATCH = 64
# Of MS-SSIM's scales, from fine to coarse (Wang, Simoncelli & Bovik 2003), and the width in pixels
# of the window in which each compares.
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW = 11
# Mean distance below which images are all alike: rounding alone gives equal ones up to 0.002.
LEAST = 0.005


def random_pairs(groups: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return up to `count` different pairs of images of different groups, int64 (pairs, 2).

    `groups` has one label per image: two images of one patient are alike for a reason that says
    nothing about diversity.
    """
    images = len(groups)
    possible = images * (images - 1) // 2
    if not possible:
        return np.empty((0, 2), dtype=np.int64)
    # Pair number j (j − 1) / 2 + i stands for the images i < j. Some drawn pairs fall away.
    drawn = rng.choice(possible, min(possible, 20 * count), replace=False)
    second = ((1 + np.sqrt(1 + 8 * drawn)) // 2).astype(np.int64)
    pairs = np.stack([drawn - second * (second - 1) // 2, second], axis=1)
    code = group_codes(groups, images)
    return pairs[code[pairs[:, 0]] != code[pairs[:, 1]]][:count]


def scale_weights(size: int) -> tuple[float, ...]:
    """Return the weights of the scales that images of `size` pixels have room for; they sum to 1.

    Each scale halves the image, and the coarsest must still be as wide as the window: 176 pixels
    for all five, 64 for the first three. Of smaller images the first weights are renormalised, so
    that values of different sizes are not of one scale. At a single one this is SSIM.
    """
    scales = 1
    # torchmetrics asks for the square, which is more than the halving needs at four scales.
    while scales < len(SCALE_WEIGHTS) and size // max(2**scales, scales**2) >= WINDOW:
        scales += 1
    chosen = SCALE_WEIGHTS[:scales]
    return tuple(weight / sum(chosen) for weight in chosen)


def msssim_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return 1 − MS-SSIM of pairs of images: float64 (n,), 0 for equal ones.

    At the scales of `scale_weights`. Brightness is compared as a ratio of means, so that levels
    count from black, here as 0 to 1. Structures that are opposite count as unlike (0). Of several
    channels each is compared with its own, and the mean taken.

    Parameters
    ----------
    first, second : uint8 or uint16, (n, size, size) or (n, size, size, channels)
    """
    weights = scale_weights(first.shape[1])
    return in_batches(
        lambda a, b: (
            1
            - multiscale_structural_similarity_index_measure(
                (a + 1) / 2, (b + 1) / 2, data_range=1.0, betas=weights, reduction="none"
            )
        ),
        first,
        second,
    )


def lpips_distances(network: nn.Module, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return LPIPS of pairs of images: float64 (n,), 0 for equal ones.

    Images of three channels in colour, others in grey.

    Parameters
    ----------
    first, second : uint8 or uint16, (n, height, width) or (n, height, width, channels)
    """
    if first.shape[3:] not in ((), (3,)):
        first, second = grey(first), grey(second)
    return in_batches(
        lambda a, b: network(a.expand(-1, 3, -1, -1), b.expand(-1, 3, -1, -1)).flatten(),
        first,
        second,
    )


@torch.inference_mode()
def in_batches(distance, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Apply a distance of float32 (n, channels, height, width) in [-1, 1], a batch at a time."""
    values = []
    for start in range(0, len(first), BATCH):
        pair = (
            to_input(side[start : start + BATCH], torch.device("cpu")) for side in (first, second)
        )
        values.append(distance(*pair).double().reshape(-1))
    return torch.cat(values).numpy() if values else np.empty(0)


def lpips_network(net: str, weights: Path) -> nn.Module:
    """Return torchmetrics' LPIPS with its linear heads, and its backbone from a torchvision file.

    Parameters
    ----------
    net : "alex" or "squeeze"
    weights : state dict of torchvision's alexnet or squeezenet1_1

    Raises
    ------
    InputError
        If the file holds something else.
    """
    network = _LPIPS(net=net, pnet_rand=True)
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        # Layer 3 of the backbone stands in a slice, as `slice2.3` or `slices.1.3`.
        layers = {name: f"features.{SLICE.sub('', name)}" for name in network.net.state_dict()}
        network.net.load_state_dict({name: state[layer] for name, layer in layers.items()})
    except Exception as error:
        raise InputError(
            f"{weights} does not hold torchvision's {BACKBONES[net]}: {error!r}"
        ) from error
    return network.eval()


def mean_and_variance(distances: np.ndarray, owners: np.ndarray) -> tuple[float, float]:
    """Return the mean over pairs and its delete-one jackknife variance.

    What is peculiar to one pair is left out once with each of its two owners, and so counts twice.
    The variance is therefore on the safe side: 1.45 to 1.8 times the true one in simulations.

    Parameters
    ----------
    distances : (pairs,)
    owners : whose each image of a pair is, (pairs, 2). What is left out together is every pair
        that one owner has part in; NaN if that leaves nothing.
    """
    code = group_codes(owners.ravel(), owners.size)
    taken, lost = np.bincount(code), np.bincount(code, np.repeat(distances, 2))
    left = len(distances) - taken
    if left.min() < 1:
        return float(distances.mean()), np.nan
    values = (distances.sum() - lost) / left
    variance = (len(left) - 1) / len(left) * np.square(values - values.mean()).sum()
    return float(distances.mean()), float(variance)


def ratio(value: tuple[float, float], reference: tuple[float, float]) -> Estimate:
    """Return the ratio of two independent means, each given with its variance (delta method).

    NaN where the reference is below LEAST.
    """
    (mean, variance), (other, other_variance) = value, reference
    if not other >= LEAST:
        return Estimate(np.nan)
    result = mean / other
    return Estimate.normal(result, (variance + result**2 * other_variance) / other**2)
