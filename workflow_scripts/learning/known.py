"""A model whose answers are exact, to stand where a trained network would.

Its images are flat: every pixel has the image's own grey b, and the grey of class k is drawn from
N(mean_k, deviation_k²). Of n pixels with independent noise only the mean tells something of b, and its
noise has the deviation σ/√n. So everything about the process of noising is known in closed form:
the density of the mean at every level, the expected x_0, and for a single class the whole flow.
"""

import math
from collections.abc import Sequence
from types import SimpleNamespace

import torch
from torch import Tensor

from workflow_scripts.diffusion.conditions import Conditions
from workflow_scripts.diffusion.model import Model
from workflow_scripts.diffusion.process import Level, make_process


class Known(Model):
    """Flat images of classes that are equally frequent.

    Parameters
    ----------
    diffusion : the configuration section `diffusion` of a model
    means, deviations : of the greys of each class, in the units of x_0
    image_size : height and width in pixels; 1 makes a number of an image

    Attributes
    ----------
    evaluations : how often the model was asked
    """

    def __init__(
        self,
        diffusion: dict,
        means: Sequence[float],
        deviations: Sequence[float],
        image_size: int = 1,
    ):
        names = [f"class {k}" for k in range(len(means))]
        facts = {"image_size": image_size, "channels": 1, "diffusion": diffusion}
        process = make_process(diffusion, image_size, sigma_data=0.5)
        # In place of the network: that it is given no image beside the noisy one.
        super().__init__(SimpleNamespace(given=0), process, Conditions({"finding": names}), facts)
        self.means = torch.tensor(means, dtype=torch.float64)
        self.deviations = torch.tensor(deviations, dtype=torch.float64)
        self.evaluations = 0

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def denoise(self, x: Tensor, level: Level, c: Tensor, given: None = None) -> Tensor:
        """Return E[x_0 | x_t]: the mean of each class's answer by how likely the class is."""
        self.evaluations += 1
        mean = x.double().mean(dim=(1, 2, 3))[:, None]
        spread = self.spread(level)
        distance = (mean - level.alpha * self.means) / spread
        share = (self.prior(c).log() - spread.log() - distance**2 / 2).softmax(dim=1)
        answer = self.means + level.alpha * self.deviations**2 / spread * distance
        grey = (share * answer).sum(dim=1).to(x.dtype)
        return grey[:, None, None, None].expand_as(x)

    def spread(self, level: Level) -> Tensor:
        """Return the deviation of an image's mean at a level, √(α² deviation² + σ²/n), by class."""
        noise = level.sigma / self.image_size
        return ((level.alpha * self.deviations) ** 2 + noise**2).sqrt()

    def prior(self, c: Tensor) -> Tensor:
        """Return the share of each class where c is asked for: float64 (n, classes).

        Of several that are stated each has the same, and so have all where none is.
        """
        stated = c[:, :-1].double()
        stated = torch.where(stated.sum(dim=1, keepdim=True) > 0, stated, 1.0)
        return stated / stated.sum(dim=1, keepdim=True)

    def density(
        self, values: Tensor, level: Level, finding: str | Sequence[str] | None = None
    ) -> Tensor:
        """Return p(x_t) of an image's mean, for one class, any of several, or, if None, of all.

        Parameters
        ----------
        values : of the mean of x_t, of any shape
        """
        prior = self.prior(self.conditions.vector(finding)[None])[0]
        spread = self.spread(level)
        distance = (values.double()[..., None] - level.alpha * self.means) / spread
        normal = (-(distance**2) / 2).exp() / (math.sqrt(2 * math.pi) * spread)
        return (normal * prior).sum(dim=-1)

    def flow(self, x: Tensor, s: Level, t: Level) -> Tensor:
        """Follow the probability flow of a single class from s to t exactly.

        x_t keeps its distance to the mean, measured in deviations.

        Parameters
        ----------
        x : means of images at s, of any shape

        Raises
        ------
        ValueError
            If there are several classes, whose flow is not known in closed form.
        """
        if len(self.means) > 1:
            raise ValueError("the flow is known in closed form for one class alone")
        ratio = (self.spread(t) / self.spread(s)).item()
        mean = self.means.item()
        return t.alpha * mean + ratio * (x - s.alpha * mean)
