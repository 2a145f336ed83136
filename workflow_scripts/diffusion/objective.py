"""What the network predicts and how its error is weighted."""

import torch
from torch import Tensor

from workflow_scripts.diffusion.schedule import alpha_bars, make_betas


class Objective:
    """Noising, target and loss of a discrete diffusion process.

    Parameters
    ----------
    settings : the configuration section `diffusion` of a model
    device : where the coefficient tables live
    """

    def __init__(self, settings: dict, device: torch.device | str = "cpu"):
        betas = make_betas(
            settings["schedule"], settings["timesteps"], settings["zero_terminal_snr"]
        )
        alpha_bar = alpha_bars(betas)
        self.timesteps = settings["timesteps"]
        self.prediction = settings["prediction"]
        self.signal = alpha_bar.sqrt().float().to(device)  # √ᾱ
        self.noise = (1 - alpha_bar).sqrt().float().to(device)  # √(1 − ᾱ)
        self.weight = loss_weights(
            alpha_bar, self.prediction, settings["weighting"], settings["min_snr_gamma"]
        ).to(device)

    def noisy(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε, for images (n, c, h, w) and t (n,)."""
        a, b = self.coefficients(t)
        return a * x0 + b * eps

    def target(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """Return what the network should say: ε, x_0, or v = √ᾱ ε − √(1 − ᾱ) x_0 (Salimans & Ho 2022)."""
        if self.prediction == "epsilon":
            return eps
        if self.prediction == "sample":
            return x0
        a, b = self.coefficients(t)
        return a * eps - b * x0

    def loss(self, output: Tensor, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """Return the weighted mean squared error of each image: float32, shape (n,)."""
        error = (output.float() - self.target(x0, eps, t)) ** 2
        return self.weight[t] * error.mean(dim=(1, 2, 3))

    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return √ᾱ_t and √(1 − ᾱ_t), shaped (n, 1, 1, 1)."""
        shape = (-1, 1, 1, 1)
        return self.signal[t].view(shape), self.noise[t].view(shape)


def loss_weights(alpha_bar: Tensor, prediction: str, weighting: str, gamma: float) -> Tensor:
    """Return the weight of each time step's squared error: float32, shape (T,).

    `min_snr` is min(SNR, γ) in units of the error of x_0 (Hang et al. 2023, section 3.4). The errors
    of ε and v are SNR and SNR + 1 times that of x_0, hence the divisors.
    """
    if weighting == "none":
        return torch.ones_like(alpha_bar, dtype=torch.float32)
    snr = alpha_bar / (1 - alpha_bar)
    divisor = {"sample": torch.ones_like(snr), "epsilon": snr, "v": snr + 1}[prediction]
    return (snr.clamp(max=gamma) / divisor).float()
