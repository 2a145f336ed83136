"""Solvers: from pure noise to an image along levels of falling noise.

At a level x_t = α x_0 + σ ε, and `denoise(x, level)` returns the expected x_0. All solvers are
built on the same two steps from a level s to a cleaner one t, which are exact where x_0 does not
change on the way: `flow`, of the deterministic probability-flow equation, and `posterior`, of the
stochastic reverse process. They differ in the x_0 that they put in:

    deterministic   stochastic     x_0
    DDIM            DDPM           at s                                              order 1
    2M              2M SDE         extrapolated from s and the level before          order 2
    UniPC                          and corrected once x_0 at t is known              order 3
    Heun            EDM            averaged over s and t, by two evaluations         order 2

Each is a generator that yields x at every level that it reaches. The last is the clean image,
α = 1 and σ = 0, which is x_0 of the last level as it stands. Levels are Python floats: no step
waits for the device. In log SNR, the papers' variable, a step of length h enters as
e^(−h) = (σ_t/α_t) / (σ_s/α_s) alone, so pure noise (α_s = 0) and the clean image, both infinitely
far away, need no special care.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from torch import Tensor

from workflow_scripts.diffusion.process import CLEAN, Level

Denoise = Callable[[Tensor, Level], Tensor]
# The standard normal noise of the i-th step.
Noise = Callable[[int], Tensor]

# EDM's sampler: where fresh noise is added, and how much more than what is lost (Karras et al.
# 2022, table 5, ImageNet).
S_TMIN, S_TMAX, S_NOISE = 0.05, 50.0, 1.003


def solve(
    method: str,
    denoise: Denoise,
    x: Tensor,
    levels: Sequence[Level],
    noise: Noise,
    level_at: Callable[[float], Level],
    churn: float,
) -> Iterator[Tensor]:
    """Yield x at every level after the first, then the clean image, by a configured method.

    Parameters
    ----------
    method : configuration entry `method` of a sampler
    denoise : expected x_0 of images at a level
    x : images (n, c, h, w) at the first level
    levels : from the noisiest to the cleanest
    noise : for stochastic methods
    level_at : for `edm`, the level of a given noise over signal
    churn : for `edm`, S_churn
    """
    match method:
        case "ddpm":
            return ddpm(denoise, x, levels, noise)
        case "ddim":
            return ddim(denoise, x, levels)
        case "dpm++2m":
            return dpm_2m(denoise, x, levels)
        case "dpm++2m_sde":
            return dpm_2m_sde(denoise, x, levels, noise)
        case "unipc":
            return unipc(denoise, x, levels)
        case "heun":
            return heun(denoise, x, levels)
        case "edm":
            return edm(denoise, x, levels, noise, level_at, churn)
    raise ValueError(f"no method {method!r}")


def flow(x: Tensor, x0: Tensor, s: Level, t: Level) -> Tensor:
    """Follow the probability flow from s to t (Song et al. 2021, equation 12 with σ = 0)."""
    return t.sigma / s.sigma * x + t.alpha * (1 - t.ratio / s.ratio) * x0


def posterior(x: Tensor, x0: Tensor, s: Level, t: Level, z: Tensor) -> Tensor:
    """Draw x_t given x_s and x_0, with noise z (Ho et al. 2020, equations 6 and 7, of any levels).

    With α_{s|t} = α_s/α_t and σ²_{s|t} = σ_s² − α²_{s|t} σ_t² the mean is
    (α_{s|t} σ_t² x_s + α_t σ²_{s|t} x_0) / σ_s² and the variance σ²_{s|t} σ_t² / σ_s².
    """
    decay = t.ratio / s.ratio
    mean = t.sigma / s.sigma * decay * x + t.alpha * (1 - decay**2) * x0
    return mean + t.sigma * math.sqrt(1 - decay**2) * z


def ddpm(denoise: Denoise, x: Tensor, levels: Sequence[Level], noise: Noise) -> Iterator[Tensor]:
    """Ancestral sampling (Ho et al. 2020): the small variance, and x_0 clipped to [-1, 1]."""
    for i, (s, t) in enumerate(pairwise([*levels, CLEAN])):
        x0 = denoise(x, s).clamp(-1, 1)
        x = posterior(x, x0, s, t, noise(i))
        yield x


def ddim(denoise: Denoise, x: Tensor, levels: Sequence[Level]) -> Iterator[Tensor]:
    """DDIM (Song et al. 2021), which is the first-order DPM-Solver++."""
    for s, t in pairwise([*levels, CLEAN]):
        x = flow(x, denoise(x, s), s, t)
        yield x


def dpm_2m(denoise: Denoise, x: Tensor, levels: Sequence[Level]) -> Iterator[Tensor]:
    """DPM-Solver++ 2M (Lu et al. 2022, algorithm 2)."""
    x0_r = None
    for r, s, t in triples(levels):
        x0 = denoise(x, s)
        x = flow(x, extrapolated(x0, x0_r, growth(r, s, t)), s, t)
        yield x
        x0_r = x0


def dpm_2m_sde(
    denoise: Denoise, x: Tensor, levels: Sequence[Level], noise: Noise
) -> Iterator[Tensor]:
    """SDE-DPM-Solver++ 2M (Lu et al. 2022): the same, with the noise of ancestral sampling."""
    x0_r = None
    for i, (r, s, t) in enumerate(triples(levels)):
        x0 = denoise(x, s)
        x = posterior(x, extrapolated(x0, x0_r, growth(r, s, t)), s, t, noise(i))
        yield x
        x0_r = x0


def unipc(denoise: Denoise, x: Tensor, levels: Sequence[Level]) -> Iterator[Tensor]:
    """UniPC of order 2 with B₂(h) = e^h − 1 and data prediction (Zhao et al. 2023).

    The predictor, UniP-2, is DPM-Solver++ 2M. Once x_0 is known where it led, the corrector,
    UniC-2, goes the same step again with it. That costs no evaluation: x_0 is not computed anew at
    the corrected image. What is yielded is the prediction.
    """
    q = start = x0_r = x0_q = None
    for r, s, t in triples(levels):
        x0 = denoise(x, s)
        if r is not None:
            h = math.log(r.ratio / s.ratio)
            x = flow(start, corrected(x0, x0_r, x0_q, h, growth(q, r, s)), r, s)
        start, x = x, flow(x, extrapolated(x0, x0_r, growth(r, s, t)), s, t)
        yield x
        q, x0_q, x0_r = r, x0_r, x0


def heun(denoise: Denoise, x: Tensor, levels: Sequence[Level]) -> Iterator[Tensor]:
    """Heun's method (Karras et al. 2022, algorithm 1 with σ(t) = t), two evaluations a step."""
    for s, t in pairwise([*levels, CLEAN]):
        x = heun_step(denoise, x, s, t)
        yield x


def edm(
    denoise: Denoise,
    x: Tensor,
    levels: Sequence[Level],
    noise: Noise,
    level_at: Callable[[float], Level],
    churn: float,
) -> Iterator[Tensor]:
    """EDM's stochastic sampler (Karras et al. 2022, algorithm 2): fresh noise, then Heun's step."""
    gamma = min(churn / len(levels), math.sqrt(2) - 1)
    for i, (s, t) in enumerate(pairwise([*levels, CLEAN])):
        if gamma > 0 and S_TMIN <= s.ratio <= S_TMAX:
            # Never noisier than the start: the process may not know such levels.
            hat = level_at(min((1 + gamma) * s.ratio, levels[0].ratio))
            fresh = S_NOISE * math.sqrt(hat.ratio**2 - s.ratio**2)
            x, s = hat.alpha * (x / s.alpha + fresh * noise(i)), hat
        x = heun_step(denoise, x, s, t)
        yield x


def heun_step(denoise: Denoise, x: Tensor, s: Level, t: Level) -> Tensor:
    """Go from s to t by the mean of the slopes at both.

    In X = x/α, whose noise is σ/α, as in the paper. The step to the clean image is Euler's there,
    which is `flow`. So is, here, a step from pure noise, where X is infinite: Euler's has a limit.
    """
    x0 = denoise(x, s)
    euler = flow(x, x0, s, t)
    if s.alpha == 0 or t.sigma == 0:
        return euler
    here, there = x / s.alpha, euler / t.alpha
    d = (here - x0) / s.ratio
    d_prime = (there - denoise(euler, t)) / t.ratio
    return t.alpha * (here + (t.ratio - s.ratio) * (d + d_prime) / 2)


def triples(levels: Sequence[Level]) -> Iterator[tuple[Level | None, Level, Level]]:
    """Yield the ends s and t of each step, after the level r before them, None at first."""
    yield from zip([None, *levels], levels, [*levels[1:], CLEAN], strict=False)


def growth(r: Level | None, s: Level, t: Level) -> float:
    """Return how much longer the step from s to t is than that from r to s, in log SNR.

    0 where nothing can be extrapolated: at first, after a step of infinite length, and for the
    last step, which ends at x_0 as it stands.
    """
    if r is None or t.sigma == 0:
        return 0.0
    return math.log(s.ratio / t.ratio) / math.log(r.ratio / s.ratio)


def extrapolated(x0: Tensor, x0_r: Tensor | None, q: float) -> Tensor:
    """Return x_0 half-way from s to t in log SNR, on the line through its values at r and s."""
    return x0 if q == 0 else x0 + q / 2 * (x0 - x0_r)


def corrected(x0_t: Tensor, x0: Tensor, x0_r: Tensor | None, h: float, q: float) -> Tensor:
    """Return x_0's mean over a step of length h with weight e^λ, λ = log(α/σ).

    That of the parabola through its values at r, s and t, which is what the coefficients of UniC-2
    come to. At first, without r, the mean of s and t, as the authors do.
    """
    if x0_r is None:
        return (x0 + x0_t) / 2
    # Means of u and u² with weight e^(hu), for u from 0 at s to 1 at t; r lies at −1/q.
    first = 1 / -math.expm1(-h) - 1 / h
    second = 1 / -math.expm1(-h) - 2 * first / h
    rho = (first - second) * q / (1 + q)
    return x0 + (first - rho) * (x0_t - x0) + rho * q * (x0 - x0_r)
