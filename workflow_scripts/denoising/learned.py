"""A trained network as a denoiser: a function from noisy patches to answers."""

from collections.abc import Sequence

import numpy as np
import torch

from workflow_scripts.common.precision import use_tf32, wants_bf16
from workflow_scripts.common.seeds import seed_for
from workflow_scripts.denoising.noisy import to_network, to_unit
from workflow_scripts.diffusion.model import Model
from workflow_scripts.diffusion.sampler import DEFAULTS, plan, sample


class Learned:
    """A trained network: a regressor, or a diffusion model that draws answers.

    A regressor and a model that is given the noisy image are told the noise's variance. One that is
    given none, which learned from clean patches, starts from the noisy image at the level whose noise
    over signal is that image's, be it a time step or between two: of rician noise, which is not simply
    added, that is an approximation.

    Parameters
    ----------
    model : trained
    sampler : settings of a sampler, `guidance` among them, of a diffusion model; None of a regressor
    samples : answers to draw to each noisy patch; 1 of a regressor
    seed : decides their noise
    precision : configuration entry
    """

    def __init__(self, model: Model, sampler: dict | None, samples: int, seed: int, precision: str):
        self.model, self.sampler, self.samples, self.seed = model, sampler, samples, seed
        self.bf16 = wants_bf16(precision, model.device)
        use_tf32(self.bf16)

    def __call__(self, noisy: np.ndarray, names: Sequence[str], variance: float) -> np.ndarray:
        """Return float32 (n, samples, h, w) or (n, samples, h, w, c).

        Answer k to a patch depends on the patch's name, k, the variance and the seed.
        """
        k, model = self.samples, self.model
        y = to_network(noisy).repeat_interleave(k, dim=0)
        seeds = torch.tensor(
            [
                seed_for(self.seed, "answer", name, str(variance), n)
                for name in names
                for n in range(k)
            ]
        )
        told = {"noise": variance} if "noise" in model.conditions.values else {}
        c = model.conditions.vector(**told).expand(len(y), -1)
        if self.sampler is None:
            images = {"begin": y}
            settings = {"guidance": 1.0}
        elif model.facts["given"] is not None:
            images, settings = {"given": y}, self.sampler
        else:
            # Noise of σ on [0, 1] is one of 2 σ on [-1, 1].
            settings = DEFAULTS | self.sampler | {"sigma_max": 2 * variance**0.5}
            # Even in time a discrete process begins at a time step, which is less noisy or more.
            if settings["spacing"] == "auto":
                settings["spacing"] = "log_snr"
            images = {"begin": plan(model.process, settings)[0].alpha * y}
        found = to_unit(sample(model, c, seeds, settings, bf16=self.bf16, **images))
        return found.reshape(len(noisy), k, *noisy.shape[1:])
