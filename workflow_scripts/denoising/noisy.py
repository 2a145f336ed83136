"""The noise that is put on patches to be removed again: a function of the patch, not of its batch."""

from collections.abc import Sequence

import numpy as np
import torch

from workflow_scripts.common.seeds import seed_for
from workflow_scripts.diffusion.degradation import make_degradation
from workflow_scripts.diffusion.noise import noise

NOISY = "noisy"  # the method that does nothing


def given(settings: dict) -> dict:
    """Return what model.json says of the noisy image that a network is given.

    Parameters
    ----------
    settings : configuration section `noise` of a denoising study
    """
    return {"kind": "noise", "noise": settings["kind"], "variances": sorted(settings["variances"])}


def condition(settings: dict, variance: float) -> str:
    """Return how a row of RESTORATION names the noise: `gaussian 0.01`."""
    return f"{settings['kind']} {variance:g}"


def noisy(clean: np.ndarray, names: Sequence[str], settings: dict, variance: float) -> np.ndarray:
    """Return images with noise: float32, shaped as `clean`, and not clipped.

    Each image has standard normal noise of its own, by its name and the seed, which all variances
    scale alike: methods meet the same noise, and curves over variances are not blurred by its luck.

    Parameters
    ----------
    clean : float32 (n, h, w) or (n, h, w, c) in [0, 1]
    names : of the images
    settings : configuration section `noise` of a denoising study
    variance : where images span [0, 1]. Of rician noise that of each of the two components of which
        the magnitude is taken
    """
    degradation = make_degradation(given(settings))
    spread = torch.tensor([variance])
    found = np.empty_like(clean)
    for place, (image, name) in enumerate(zip(clean, names, strict=True)):
        # One by one: vectorised and scalar arithmetic, and so places in a batch, may differ in the
        # last digit.
        x0 = to_network(image[None])
        seed = torch.tensor([seed_for(settings["seed"], "noise", name)])
        normal = noise(seed, 0, (degradation.draws, *x0.shape[1:]))
        found[place] = to_unit(degradation(x0, normal, spread))[0]
    return found


def to_network(images: np.ndarray) -> torch.Tensor:
    """Return images (n, h, w) or (n, h, w, c) about [0, 1] as float32 (n, c, h, w) about [-1, 1]."""
    x = torch.from_numpy(np.ascontiguousarray(images)).float()
    return 2 * (x[:, None] if x.ndim == 3 else x.movedim(-1, 1)) - 1


def to_unit(x: torch.Tensor) -> np.ndarray:
    """Return images (n, c, h, w) about [-1, 1] as float32 (n, h, w) or (n, h, w, c) about [0, 1]."""
    x = (x.float().cpu() + 1) / 2
    return (x[:, 0] if x.shape[1] == 1 else x.movedim(1, -1)).contiguous().numpy()
