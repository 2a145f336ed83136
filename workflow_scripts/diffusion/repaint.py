"""RePaint: the hidden part of an image, drawn by a model that was never trained to fill in.

At each level the known part is the known image under as much noise as belongs there, and the hidden
part is what the reverse process makes of both (Lugmayr et al. 2022, algorithm 1). The reverse step
alone hears of the known part too late: what it draws fits its own noise, not what is put beside it.
So the whole is made noisier again and denoised again, `resamples` times each time that it has come
`jump_length` levels further.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import count, pairwise

import torch
from torch import Tensor

from workflow_scripts.common.runtime import progress
from workflow_scripts.diffusion.model import Model
from workflow_scripts.diffusion.process import CLEAN, Level
from workflow_scripts.diffusion.sampler import DEFAULTS, batch_size, filled, guided, plan
from workflow_scripts.diffusion.solvers import Denoise, Noise, posterior


def repaint(
    denoise: Denoise,
    image: Tensor,
    known: Tensor,
    levels: Sequence[Level],
    noise: Noise,
    jump_length: int,
    resamples: int,
) -> Tensor:
    """Draw the hidden pixels of images: shaped as `image`, and equal to it where it is known.

    Parameters
    ----------
    denoise : expected x_0 of images at a level
    image : x_0 where it is known, and anything else where it is not; float (n, c, h, w)
    known : bool (n, 1, h, w)
    levels : from the noisiest to the cleanest
    noise : of the i-th draw, (n, c, h, w)
    jump_length, resamples : see `visits`
    """
    draw = count()

    def joined(hidden: Tensor, level: Level) -> Tensor:
        x = level.alpha * image + level.sigma * noise(next(draw))
        return torch.where(known, x, hidden)

    stops = [*levels, CLEAN]
    x = joined(levels[0].sigma * noise(next(draw)), levels[0])
    for s, t in pairwise(stops[stop] for stop in visits(len(levels), jump_length, resamples)):
        if t.ratio > s.ratio:
            x = diffused(x, s, t, noise(next(draw)))
        else:
            x0 = denoise(x, s).clamp(-1, 1)
            x = joined(posterior(x, x0, s, t, noise(next(draw))), t)
    return x


def diffused(x: Tensor, s: Level, t: Level, z: Tensor) -> Tensor:
    """Draw x_t given x_s at a cleaner level, with noise z.

    The forward process over any number of its steps at once: x_t = α_t/α_s x_s + σ z with what
    variance is missing, σ² = σ_t² − (α_t/α_s)² σ_s².
    """
    decay = t.alpha / s.alpha
    return decay * x + math.sqrt(t.sigma**2 - (decay * s.sigma) ** 2) * z


def visits(levels: int, jump_length: int, resamples: int) -> Iterator[int]:
    """Yield the numbers of the levels in the order in which they are come to.

    From 0, the noisiest, to `levels`, the clean image. The last level and every `jump_length`-th
    before it are come to `resamples` times: after each but the last time the way leads back over
    `jump_length` levels. So do the authors, who count from the other end.
    """
    returns = dict.fromkeys(range(levels - 1, jump_length - 1, -jump_length), resamples - 1)
    stop = 0
    yield stop
    while stop < levels:
        stop += 1
        yield stop
        if returns.get(stop, 0) > 0:
            returns[stop] -= 1
            stop -= jump_length
            yield stop


def inpaint(
    model: Model,
    images: Tensor,
    known: Tensor,
    c: Tensor,
    seeds: Tensor,
    sampler: dict,
    bf16: bool = False,
) -> Tensor:
    """Return images whose hidden pixels are drawn: float32 (n, c, h, w), about in [-1, 1], on the CPU.

    Image k depends on images[k], known[k], c[k] and seeds[k] alone, as in sampling. Known pixels are
    those of `images`.

    Parameters
    ----------
    images : float32 (n, c, h, w) in [-1, 1]; what is hidden is not looked at
    known : bool (n, h, w)
    c : conditions, (n, width)
    seeds : int64 (n,)
    sampler : `steps`, `jump_length` and `resamples`, and of a sampler's other keys what is not to be
        as in `DEFAULTS`
    bf16 : compute the network in bfloat16
    """
    result = torch.empty(images.shape)
    size = batch_size(model)
    for start in progress(range(0, len(seeds), size), "inpainting", unit="batch"):
        batch = slice(start, start + size)
        parts = images[batch], known[batch, None], c[batch], seeds[batch]
        result[batch] = of_batch(model, *parts, sampler, bf16)
    return result


@torch.inference_mode()
def of_batch(
    model: Model,
    images: Tensor,
    known: Tensor,
    c: Tensor,
    seeds: Tensor,
    sampler: dict,
    bf16: bool,
) -> Tensor:
    """Return what `inpaint` does of n <= batch_size(model) images; `known` is (n, 1, h, w)."""
    settings, count = DEFAULTS | sampler | {"method": "ddpm"}, len(seeds)
    images, known, c, seeds = (
        filled(part, batch_size(model)).to(model.device) for part in (images, known, c, seeds)
    )
    guided_denoise = guided(model, c, settings)

    def denoise(x: Tensor, level: Level) -> Tensor:
        with torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
            return guided_denoise(x, level)

    def draw(number: int) -> Tensor:
        return model.process.noise(seeds, number, images.shape[1:])

    levels = plan(model.process, settings)
    jumps = settings["jump_length"], settings["resamples"]
    return repaint(denoise, images, known, levels, draw, *jumps)[:count]
