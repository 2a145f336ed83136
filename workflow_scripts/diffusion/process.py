"""Diffusion processes: how an image becomes noise, what the network says, and what its error costs.

Everywhere x_t = α x_0 + σ ε with ε ~ N(0, 1) at each pixel, and the network F says what x_0 is by
x_0 = c_skip x_t + c_out F(c_in x_t). Given an image beside x_t, it says what that lacks of x_0
(`Process.denoise`). A process is the choice of α and σ as functions of its time t,
of the three scalings, and of how often each t is trained. Training works on tensors and never
waits for the device; sampling plans its levels in float64.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from workflow_scripts.diffusion.noise import noise
from workflow_scripts.diffusion.schedule import alpha_bars, resolution_shift
from workflow_scripts.diffusion.simplex import simplex_noise

Coefficient = float | Tensor
Evaluate = Callable[[Tensor, Tensor, Tensor], Tensor]
LOSSES = {"l2": functional.mse_loss, "l1": functional.l1_loss, "huber": functional.huber_loss}
# log(α/σ) = −5.1, where the authors of DPM-Solver cut cosine schedules off.
NOISIEST_OF_EPSILON = math.exp(5.1)


class Level(NamedTuple):
    """A noise level: x_t = alpha x_0 + sigma ε at the process's time t."""

    t: float
    alpha: float
    sigma: float

    @property
    def ratio(self) -> float:
        """Noise over signal, σ/α = SNR^(−1/2); infinite where nothing of the image is left."""
        return self.sigma / self.alpha if self.alpha else math.inf


CLEAN = Level(0.0, 1.0, 0.0)


class Process(ABC):
    """What all processes share.

    Images are float32 (n, c, h, w), about in [-1, 1]. Times t of a batch are tensors (n,).

    Attributes
    ----------
    sigma_range : least and greatest finite noise over signal, σ/α, that the process has
    noisiest : σ/α at which a sampler that does not clip x_0 begins, at most
    """

    sigma_range: tuple[float, float]
    noisiest = math.inf

    def __init__(self, settings: dict):
        self.loss_function = LOSSES[settings["loss"]]
        self.simplex = settings.get("noise") == "simplex"

    def noise(self, seeds: Tensor, draw: int, shape: Sequence[int]) -> Tensor:
        """Draw ε: float32 (n, *shape), a function of (seed, draw), of mean 0 and variance 1.

        Normal and independent from pixel to pixel (`noise.noise`), or smooth (`simplex_noise`) where
        the model was trained so.
        """
        return (simplex_noise if self.simplex else noise)(seeds, draw, shape)

    # Training

    def eps(self, shape: Sequence[int], stream: torch.Generator) -> Tensor:
        """Draw ε of a batch from a stream: float32 (n, c, h, w), on the stream's device."""
        if not self.simplex:
            return normal(shape, stream)
        seeds = torch.randint(2**62, shape[:1], generator=stream, device=stream.device)
        return simplex_noise(seeds, 0, shape[1:])

    @abstractmethod
    def levels(self, u: Tensor) -> Tensor:
        """Return the u-quantiles of the times that training draws, for u (n,) in [0, 1)."""

    @abstractmethod
    def marginal(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return α and σ at times t: float32 (n, 1, 1, 1)."""

    def noisy(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t = α x_0 + σ ε."""
        alpha, sigma = self.marginal(t)
        return alpha * x0 + sigma * eps

    @abstractmethod
    def target(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """Return what F should say: the solution of x_0 = c_skip x_t + c_out F."""

    @abstractmethod
    def weight(self, t: Tensor) -> Coefficient:
        """Return the weight of F's error: (n,), or a number where all weigh the same."""

    def loss(
        self, output: Tensor, x0: Tensor, eps: Tensor, t: Tensor, given: Tensor | None = None
    ) -> Tensor:
        """Return the weighted loss of each image, averaged over its pixels: float32 (n,).

        Parameters
        ----------
        output : what the network said
        given : the image that it is given, a first guess of x_0: it is to say what that lacks
        """
        lacking = x0 if given is None else x0 - given
        error = self.loss_function(output.float(), self.target(lacking, eps, t), reduction="none")
        return self.weight(t) * error.mean(dim=(1, 2, 3))

    # The network

    def network_input(self, x: Tensor, t: Tensor) -> Tensor:
        """Return c_in x_t."""
        return x

    @abstractmethod
    def network_time(self, t: Tensor) -> Tensor:
        """Return what the network's time embedding gets: float32, shaped as t."""

    def time_of_network(self, t: float) -> float:
        """Return `network_time` of one time."""
        return self.network_time(torch.tensor(t, dtype=torch.float64)).item()

    @abstractmethod
    def scalings(self, alpha: Coefficient, sigma: Coefficient) -> tuple[Coefficient, ...]:
        """Return c_skip, c_out and c_in at a level, for floats or tensors."""

    # Sampling

    def denoise(
        self, network: Evaluate, x: Tensor, level: Level, c: Tensor, given: Tensor | None = None
    ) -> Tensor:
        """Return the expected x_0 = c_skip x + c_out F(c_in x): float32, shaped as x.

        Of a network that is given an image y, F says of x_0 − y what it otherwise says of x_0, as in
        Li et al. 2022, "SRDiff", where that is what is diffused. Since c_skip x holds α c_skip parts
        of x_0, the rest of y is added: x_0 = c_skip x + (1 − α c_skip) y + c_out F. Where x is
        nothing but noise, y is the first guess, and F what a regressor from y would say.

        Parameters
        ----------
        network : F; called with images, their times and their conditions
        x : float32 (n, c, h, w), at `level`
        c : conditions, (n, width)
        given : y, shaped as x
        """
        c_skip, c_out, c_in = self.scalings(level.alpha, level.sigma)
        t = torch.full((len(x),), self.time_of_network(level.t), device=x.device)
        known = c_skip * x
        if given is not None:
            known = known + (1 - level.alpha * c_skip) * given
        return known + c_out * network(c_in * x, t, c).float()

    @abstractmethod
    def level(self, t: float) -> Level:
        """Return the level at time t."""

    @abstractmethod
    def level_at(self, ratio: float) -> Level:
        """Return the level whose noise over signal is `ratio` > 0.

        Beyond the process's range the level keeps its ratio, and its time is the nearest there is.
        """


def normal(shape: Sequence[int], stream: torch.Generator) -> Tensor:
    """Draw standard normal noise from a stream: float32, on the stream's device."""
    return torch.randn(shape, generator=stream, device=stream.device)


class VariancePreserving(Process):
    """α² + σ² = 1, a network that says ε, x_0 or v, and min-SNR weighting."""

    def __init__(self, settings: dict):
        super().__init__(settings)
        self.prediction = settings["prediction"]
        if self.prediction == "epsilon":
            # x_0 = (x − σ F) / α: in almost pure noise it is the network's error, many times over.
            self.noisiest = NOISIEST_OF_EPSILON
        self.gamma = settings["min_snr_gamma"] if settings["weighting"] == "min_snr" else None

    def target(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """Return ε, x_0, or v = α ε − σ x_0 (Salimans & Ho 2022)."""
        if self.prediction == "epsilon":
            return eps
        if self.prediction == "sample":
            return x0
        alpha, sigma = self.marginal(t)
        return alpha * eps - sigma * x0

    def scalings(self, alpha: Coefficient, sigma: Coefficient) -> tuple[Coefficient, ...]:
        """Return c_skip, c_out and c_in; those of ε need α > 0."""
        if self.prediction == "epsilon":
            return 1 / alpha, -sigma / alpha, 1
        if self.prediction == "sample":
            return 0, 1, 1
        return alpha, -sigma, 1

    def weight(self, t: Tensor) -> Coefficient:
        """Return 1, or what the weight min(SNR, γ) of x_0's error (Hang et al. 2023) is for F's.

        An error of F is c_out times as large in x_0, so that F's weighs min(SNR, γ) / SNR for ε,
        min(SNR, γ) for x_0, and min(SNR, γ) / (SNR + 1) for v.
        """
        if self.gamma is None:
            return 1.0
        alpha, sigma = self.marginal(t)
        _, c_out, _ = self.scalings(alpha, sigma)
        of_x0 = ((alpha / sigma) ** 2).clamp(max=self.gamma)
        return (of_x0 * c_out**2).flatten()

    def level(self, t: float) -> Level:
        """Return the level at time t."""
        return preserving(t, self.ratio(t))

    def level_at(self, ratio: float) -> Level:
        """Return the level whose noise over signal is `ratio` > 0, which may be infinite."""
        return preserving(self.time(ratio), ratio)

    @abstractmethod
    def ratio(self, t: float) -> float:
        """Return σ/α at time t."""

    @abstractmethod
    def time(self, ratio: float) -> float:
        """Return the time at which σ/α is `ratio`, or the nearest there is."""


def preserving(t: float, ratio: float) -> Level:
    """Return the level of a given σ/α with α² + σ² = 1."""
    alpha = 1 / math.hypot(1, ratio)
    return Level(t, alpha, ratio * alpha if alpha else 1.0)


class DDPM(VariancePreserving):
    """Discrete time steps t = 0 … T − 1 (Ho et al. 2020), each trained as often.

    Between time steps the levels are those of an interpolated log SNR, and the network gets a
    fractional t. At zero terminal SNR the last level is pure noise: α = 0 exactly.
    """

    def __init__(self, settings: dict, image_size: int, device: torch.device | str = "cpu"):
        super().__init__(settings)
        alpha_bar = alpha_bars(settings, image_size)
        self.alpha = alpha_bar.sqrt().float().to(device)  # √ᾱ
        self.sigma = (1 - alpha_bar).sqrt().float().to(device)  # √(1 − ᾱ)
        self.ratios = ((1 - alpha_bar) / alpha_bar).sqrt().numpy()
        self.log_ratios = np.log(self.ratios)
        self.timesteps = np.arange(len(alpha_bar))
        finite = self.ratios[np.isfinite(self.ratios)]
        self.sigma_range = float(finite[0]), float(finite[-1])

    def levels(self, u: Tensor) -> Tensor:
        """Return ⌊u T⌋: int64."""
        return (u * len(self.timesteps)).long()

    def marginal(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return √ᾱ_t and √(1 − ᾱ_t)."""
        return self.alpha[t].view(-1, 1, 1, 1), self.sigma[t].view(-1, 1, 1, 1)

    def network_time(self, t: Tensor) -> Tensor:
        """Return t itself."""
        return t.float()

    def ratio(self, t: float) -> float:
        """Return σ/α at time t in [0, T − 1]."""
        return math.exp(np.interp(t, self.timesteps, self.log_ratios))

    def time(self, ratio: float) -> float:
        """Return the time at which σ/α is `ratio`, or the nearest there is."""
        return float(np.interp(math.log(ratio), self.log_ratios, self.timesteps))


class VPSDE(VariancePreserving):
    """Continuous time t in [0, 1] (Song et al. 2021), with a cosine schedule cut at its ends.

    log SNR(t) = −2 log tan(a t + b), from 15 to −15 (Hoogeboom et al. 2023), plus the resolution
    shift. The loss at prediction `epsilon` and weighting `none` is denoising score
    matching with the weight σ²: F = −σ s for the score s.
    """

    LOG_SNR_LIMIT = 15.0

    def __init__(self, settings: dict, image_size: int):
        super().__init__(settings)
        self.shift = resolution_shift(settings, image_size)
        self.b = math.atan(math.exp(-self.LOG_SNR_LIMIT / 2))
        self.a = math.atan(math.exp(self.LOG_SNR_LIMIT / 2)) - self.b
        self.sigma_range = self.ratio(0.0), self.ratio(1.0)

    def log_snr(self, t: Tensor) -> Tensor:
        """Return log(α²/σ²): float64, shaped as t."""
        return -2 * torch.log(torch.tan(self.a * t.double() + self.b)) + self.shift

    def levels(self, u: Tensor) -> Tensor:
        """Return u itself: times are uniform."""
        return u.float()

    def marginal(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return α = √sigmoid(log SNR) and σ = √sigmoid(−log SNR)."""
        log_snr = self.log_snr(t).view(-1, 1, 1, 1)
        return log_snr.sigmoid().sqrt().float(), (-log_snr).sigmoid().sqrt().float()

    def network_time(self, t: Tensor) -> Tensor:
        """Return 1000 t: the range that the time embedding of DDPM was made for."""
        return (1000 * t).float()

    def ratio(self, t: float) -> float:
        """Return σ/α at time t in [0, 1]."""
        return math.exp(-self.log_snr(torch.tensor(t, dtype=torch.float64)).item() / 2)

    def time(self, ratio: float) -> float:
        """Return the time at which σ/α is `ratio`, or the nearest there is."""
        angle = math.atan(ratio * math.exp(self.shift / 2))
        return min(max((angle - self.b) / self.a, 0.0), 1.0)


class EDM(Process):
    """Noise added to the unscaled image, α = 1, with time t = σ (Karras et al. 2022, table 1).

    Parameters
    ----------
    settings : the configuration section `diffusion` of a model
    sigma_data : standard deviation of the training images' pixels
    """

    sigma_range = (0.002, 80.0)

    def __init__(self, settings: dict, sigma_data: float):
        super().__init__(settings)
        self.p_mean, self.p_std = settings["p_mean"], settings["p_std"]
        self.sigma_data = sigma_data

    def levels(self, u: Tensor) -> Tensor:
        """Return σ with ln σ ~ N(p_mean, p_std²): float32."""
        # The normal quantiles of 0 and 1 are infinite.
        normal = torch.special.ndtri(u.double().clamp(1e-6, 1 - 1e-6))
        return (self.p_mean + self.p_std * normal).exp().float()

    def marginal(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return 1 and σ."""
        sigma = t.float().view(-1, 1, 1, 1)
        return torch.ones_like(sigma), sigma

    def target(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """Return (x_0 − c_skip x_t) / c_out, of unit variance: −v with α : σ as σ_data : σ."""
        _, sigma = self.marginal(t)
        total = (sigma**2 + self.sigma_data**2).sqrt()
        return (sigma * (x0 / self.sigma_data) - self.sigma_data * eps) / total

    def weight(self, t: Tensor) -> Coefficient:
        """Return λ(σ) c_out², which is 1: λ is the weight of x_0's error."""
        return 1.0

    def network_input(self, x: Tensor, t: Tensor) -> Tensor:
        """Return c_in x_t, of unit variance."""
        _, _, c_in = self.scalings(*self.marginal(t))
        return c_in * x

    def network_time(self, t: Tensor) -> Tensor:
        """Return c_noise = ln(σ) / 4."""
        return (t.log() / 4).float()

    def scalings(self, alpha: Coefficient, sigma: Coefficient) -> tuple[Coefficient, ...]:
        """Return c_skip, c_out and c_in of table 1; α is 1."""
        total = (sigma**2 + self.sigma_data**2) ** 0.5
        return self.sigma_data**2 / total**2, sigma * self.sigma_data / total, 1 / total

    def level(self, t: float) -> Level:
        """Return the level at σ = t."""
        return Level(t, 1.0, t)

    def level_at(self, ratio: float) -> Level:
        """Return the level at σ = `ratio`."""
        return Level(ratio, 1.0, ratio)


class Regression(Process):
    """No diffusion: one level, x = x_0 + ε, where ε is what some degradation did to x_0.

    The network says ε, whatever its distribution, and one evaluation gives x_0: the regressor that
    diffusion is held against, in the same training and under the same names.
    """

    sigma_range = (1.0, 1.0)

    def levels(self, u: Tensor) -> Tensor:
        """Return 0."""
        return torch.zeros_like(u)

    def marginal(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return 1 and 1."""
        one = torch.ones(len(t), 1, 1, 1, device=t.device)
        return one, one

    def target(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """Return ε."""
        return eps

    def weight(self, t: Tensor) -> Coefficient:
        """Return 1."""
        return 1.0

    def network_time(self, t: Tensor) -> Tensor:
        """Return 0."""
        return torch.zeros_like(t, dtype=torch.float32)

    def scalings(self, alpha: Coefficient, sigma: Coefficient) -> tuple[Coefficient, ...]:
        """Return 1, −1 and 1."""
        return 1, -1, 1

    def level(self, t: float) -> Level:
        """Return the one level."""
        return Level(0.0, 1.0, 1.0)

    def level_at(self, ratio: float) -> Level:
        """Return the one level."""
        return self.level(0.0)


def make_process(
    settings: dict, image_size: int, sigma_data: float, device: torch.device | str = "cpu"
) -> Process:
    """Return the process of a configured model.

    Parameters
    ----------
    settings : the configuration section `diffusion` of a model
    image_size : height and width in pixels, for the resolution shift
    sigma_data : standard deviation of the training images' pixels, in the units of x_0, for edm
    device : where the coefficient tables live
    """
    if settings["process"] == "ddpm":
        return DDPM(settings, image_size, device)
    if settings["process"] == "vp_sde":
        return VPSDE(settings, image_size)
    if settings["process"] == "regression":
        return Regression(settings)
    return EDM(settings, sigma_data)
