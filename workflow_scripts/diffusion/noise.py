"""Normal noise that is a function of (seed, draw, pixel), not the next numbers of some stream.

An image's noise then depends on nothing but its own seed, whatever batch, shard or device it is
drawn in, and a whole batch is drawn at once. The generator is Philox4x32-10: Salmon, Moraes, Dror &
Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
KEY_STEPS = 0x9E3779B9, 0xBB67AE85  # golden ratio, √3 − 1
ROUNDS = 10
LOW = 0xFFFFFFFF


def philox(counter: Sequence[Tensor], key: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Encrypt a counter of four words with a key of two: four independent uniform words.

    Words are unsigned 32-bit numbers in int64 tensors; all six broadcast together.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        # Products wrap around at 64 bits, which leaves every bit where it belongs.
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = high(p1) ^ c1 ^ k0, p1 & LOW, high(p0) ^ c3 ^ k1, p0 & LOW
        k0, k1 = (k0 + KEY_STEPS[0]) & LOW, (k1 + KEY_STEPS[1]) & LOW
    return c0, c1, c2, c3


def high(word: Tensor) -> Tensor:
    """Return the upper half of 64-bit words."""
    return (word >> 32) & LOW


def noise(seeds: Tensor, draw: int, shape: Sequence[int]) -> Tensor:
    """Draw standard normal noise: float32 (n, *shape), on the device of the seeds.

    Parameters
    ----------
    seeds : int64 (n,); image k's noise depends on seeds[k], `draw` and `shape` alone
    draw : which noise of the image, in [0, 2**32); every draw is independent of every other
    """
    count = math.prod(shape)
    block = torch.arange(-(-count // 4), device=seeds.device)
    zero = torch.zeros_like(block)
    key = (seeds & LOW)[:, None], high(seeds)[:, None]
    words = torch.stack(philox((block, zero + draw, zero, zero), key), dim=-1)
    # Box & Muller 1958. In float64, where the last digit, in which vectorised and scalar code (and
    # so places in a batch) may differ, is lost in rounding.
    u, v = ((words.double() + 0.5) / 2**32).unflatten(-1, (2, 2)).unbind(-1)
    radius, angle = (-2 * u.log()).sqrt(), 2 * math.pi * v
    normal = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-1)
    return normal.flatten(1)[:, :count].float().view(len(seeds), *shape)
