"""What becomes of an image before a network is given it: noise, or reduction.

A degradation turns images x_0, float32 (n, c, h, w) in [-1, 1], into images of the same shape and
scale, which with noise go beyond that range: nothing is cut off.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


class Degradation(ABC):
    """A way to degrade images.

    Attributes
    ----------
    draws : standard normal images (c, h, w) that the degradation of one image takes
    variances : what a network may be told of how much; empty where there is nothing to tell
    """

    draws = 0
    variances: Sequence[float] = ()

    @abstractmethod
    def __call__(self, x0: Tensor, normal: Tensor, variance: Tensor) -> Tensor:
        """Return x_0 degraded, float32 (n, c, h, w).

        Parameters
        ----------
        normal : standard normal, (n, draws, c, h, w)
        variance : of the noise, (n,), in units in which images span [0, 1]
        """

    def in_turn(self, count: int) -> Tensor:
        """Return the variances one after the other, again and again: float32 (count,).

        Where there are none, 0.
        """
        return torch.tensor(self.variances or [0.0]).repeat(count)[:count]


class Gaussian(Degradation):
    """y = x_0 + 2 σ n: noise of variance σ² on an image in [0, 1], which [-1, 1] doubles.

    What comes out may be any number.
    """

    draws = 1

    def __init__(self, variances: Sequence[float]):
        self.variances = list(variances)

    def __call__(self, x0: Tensor, normal: Tensor, variance: Tensor) -> Tensor:
        return x0 + 2 * variance.sqrt().view(-1, 1, 1, 1) * normal[:, 0]


class Rician(Degradation):
    """The magnitude m = |a + σ (n_1 + i n_2)| of an image a in [0, 1] (Gudbjartsson & Patz 1995).

    That is what MR measures: in the dark, where a is 0, m follows Rayleigh's distribution, of mean
    σ √(π/2); in the bright m is about a + σ n_1. No magnitude is negative, so that what comes out,
    2 m − 1, is at least −1; upwards it has no bound.
    """

    draws = 2

    def __init__(self, variances: Sequence[float]):
        self.variances = list(variances)

    def __call__(self, x0: Tensor, normal: Tensor, variance: Tensor) -> Tensor:
        sigma = variance.sqrt().view(-1, 1, 1, 1)
        real, imaginary = (x0 + 1) / 2 + sigma * normal[:, 0], sigma * normal[:, 1]
        return 2 * torch.hypot(real, imaginary) - 1


class Reduction(Degradation):
    """Means over boxes of `factor` pixels, enlarged to the size of before by cubic interpolation.

    What comes out lies in [-1, 1].
    """

    def __init__(self, factor: int):
        self.factor = factor

    def __call__(self, x0: Tensor, normal: Tensor, variance: Tensor) -> Tensor:
        return self.enlarged(self.reduced(x0))

    def reduced(self, x0: Tensor) -> Tensor:
        """Return the means over boxes: (n, c, h / factor, w / factor).

        Raises
        ------
        ValueError
            If the factor divides the sides not: the last rows and columns would have no box.
        """
        if x0.shape[-2] % self.factor or x0.shape[-1] % self.factor:
            raise ValueError(
                f"images of {x0.shape[-2]} x {x0.shape[-1]} pixels have no boxes of {self.factor}"
            )
        return F.avg_pool2d(x0, self.factor)

    def enlarged(self, small: Tensor) -> Tensor:
        """Return (n, c, h, w) in [-1, 1] by cubic interpolation (Keys 1981, a = −0.75)."""
        large = F.interpolate(small, scale_factor=self.factor, mode="bicubic", align_corners=False)
        return large.clamp(-1, 1)


def make_degradation(given: dict | None) -> Degradation | None:
    """Return the degradation of an image that a network is given; None: it is given none.

    Parameters
    ----------
    given : of model.json: {kind: noise, noise: gaussian or rician, variances: […]} or
        {kind: reduction, factor: …}
    """
    if given is None:
        return None
    if given["kind"] == "reduction":
        return Reduction(given["factor"])
    kinds = {"gaussian": Gaussian, "rician": Rician}
    return kinds[given["noise"]](given["variances"])
