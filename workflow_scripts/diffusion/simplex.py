"""Simplex noise: smooth, of several octaves, for models that are to paint over large areas.

Wyatt, Leach, Schmon & Willcocks, "AnoDDPM: anomaly detection with denoising diffusion probabilistic
models using simplex noise", 2022; Perlin, "Noise hardware", 2001. Octave k is gradient noise on a
lattice of triangles, 2^k times as fine and 0.8^k times as strong as the first, whose cells are a
quarter of the image wide. The last has cells of two pixels; finer ones no pixel could show. At 256
pixels these are the paper's six octaves of 64 to 2 pixels.

Gradients are drawn from N(0, I) rather than from the unit circle and every octave is shifted by its
image's seed, uniformly over a cell of the lattice: each pixel's noise is then of mean 0 and variance
1, in closed form, and about normal, as the process takes ε to be.
"""

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from workflow_scripts.diffusion.noise import noise

COARSEST = 4  # cells across the image
FINEST = 2  # pixels to a cell
PERSISTENCE = 0.8
SKEW, UNSKEW = (math.sqrt(3) - 1) / 2, (3 - math.sqrt(3)) / 6
# A vertex reaches as far as the triangle is high, 1/√2. Where E[(0.5 − r²)^8 r²], the variance of
# one vertex's part, is integrated over the plane, in which a vertex has the area 1/√3, there remains:
VARIANCE = math.sqrt(3) * math.pi / (2**10 * 90)


def simplex_noise(seeds: Tensor, draw: int, shape: Sequence[int]) -> Tensor:
    """Draw simplex noise of mean 0 and variance 1: float32 (n, *shape), on the device of the seeds.

    Parameters
    ----------
    seeds : int64 (n,); image k's noise depends on seeds[k], `draw` and `shape` alone
    draw : which noise of the image, in [0, 2**32); every draw is independent of every other
    shape : (channels, height, width), square; channels are independent
    """
    channels, size, _ = shape
    octaves = octaves_of(size)
    sides = [lattice_side(cells) for cells in octaves]
    # Of each channel and octave the shift, then the gradients at the lattice's vertices.
    parts = [2 + 2 * side**2 for side in sides]
    normal = noise(seeds, draw, (channels, sum(parts))).flatten(0, 1)
    total = torch.zeros(len(normal), size * size, device=seeds.device)
    power = 0.0
    for k, (cells, side, part) in enumerate(
        zip(octaves, sides, normal.split(parts, dim=1), strict=True)
    ):
        shift, gradients = torch.special.ndtr(part[:, :2]), part[:, 2:].unflatten(1, (2, -1))
        total += PERSISTENCE**k * octave(size, cells, shift, gradients, side)
        power += PERSISTENCE ** (2 * k)
    return (total / math.sqrt(power * VARIANCE)).view(len(seeds), *shape)


@cache
def octaves_of(size: int) -> list[int]:
    """Return the cells across an image of `size` pixels, per octave; one octave at least."""
    count = max(1, 1 + math.floor(math.log2(size / FINEST / COARSEST)))
    return [COARSEST * 2**k for k in range(count)]


def lattice_side(cells: int) -> int:
    """Return how many rows and columns of vertices, skewed, a shifted image of `cells` touches."""
    return math.ceil(cells * (1 + 2 * SKEW)) + 3


def octave(size: int, cells: int, shift: Tensor, gradients: Tensor, side: int) -> Tensor:
    """Return one octave of variance VARIANCE: float32 (n, size²).

    Parameters
    ----------
    shift : of the lattice, in [0, 1] along each side of its cell, (n, 2)
    gradients : (n, 2, side²)
    """
    at = (torch.arange(size, device=shift.device) + 0.5) * (cells / size)
    y, x = (grid.flatten() for grid in torch.meshgrid(at, at, indexing="ij"))
    back = shift.sum(dim=1, keepdim=True) * UNSKEW
    x, y = x + shift[:, :1] - back, y + shift[:, 1:] - back
    skewed = (x + y) * SKEW
    i, j = (x + skewed).floor(), (y + skewed).floor()
    back = (i + j) * UNSKEW
    dx, dy = x - (i - back), y - (j - back)  # from the triangle's first vertex
    lower = (dx > dy).float()  # its second lies along x, or along y
    value = torch.zeros_like(x)
    for di, dj in ((0.0, 0.0), (lower, 1 - lower), (1.0, 1.0)):
        step = (di + dj) * UNSKEW
        ex, ey = dx - di + step, dy - dj + step
        vertex = ((j + dj) * side + i + di).long()
        gx, gy = (gradients[:, axis].gather(1, vertex) for axis in (0, 1))
        value += (0.5 - ex**2 - ey**2).clamp(min=0) ** 4 * (gx * ex + gy * ey)
    return value
