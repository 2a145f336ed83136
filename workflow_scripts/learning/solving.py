"""How samplers do on a model whose answers are exact."""

from collections.abc import Iterable, Sequence

import pandas as pd
import torch
from torch import Tensor

from workflow_scripts.common.configuration_rules import DETERMINISTIC
from workflow_scripts.diffusion.model import Model
from workflow_scripts.diffusion.process import CLEAN, Level
from workflow_scripts.diffusion.sampler import DEFAULTS, guided, image_seeds, plan
from workflow_scripts.diffusion.solvers import solve
from workflow_scripts.learning.known import Known


@torch.inference_mode()
def paths(
    model: Model,
    finding: str | Sequence[str] | None,
    count: int,
    seed: int = 0,
    guide: Model | None = None,
    **sampler,
) -> tuple[list[Level], Tensor]:
    """Return the levels that samples pass, and the mean grey of each sample at each: (levels, count).

    As `trajectory` in diffusion/sampler.py, but all at once: there is no network to be fed batches.

    Parameters
    ----------
    finding : what is asked for, of several any; None leaves it open
    sampler : configuration entries of a sampler; guidance is 1 where it is not given
    """
    settings = DEFAULTS | {"guidance": 1.0} | sampler
    c = model.conditions.vector(finding).expand(count, -1)
    name = finding if isinstance(finding, str) else "|".join(finding or [])
    seeds = image_seeds(seed, name, range(count))
    shape = (model.channels, model.image_size, model.image_size)
    levels = plan(model.process, settings)
    start = levels[0].sigma * model.process.noise(seeds, 0, shape)
    stages = solve(
        settings["method"],
        guided(model, c, settings, guide),
        start,
        levels,
        noise=lambda step: model.process.noise(seeds, 1 + step, shape),
        level_at=model.process.level_at,
        churn=settings["churn"],
    )
    x = torch.stack([stage.mean(dim=(1, 2, 3)) for stage in [start, *stages]])
    return [*levels, CLEAN], x


def judged(
    model: Known, methods: Iterable[str], steps: Iterable[int], count: int, **sampler
) -> pd.DataFrame:
    """Return how far each method comes with each number of steps, one row each.

    Columns: `method`, `steps`, `evaluations` of the model by image, `error`, the root mean square
    distance to where the exact flow leads (missing where fresh noise is drawn), and `spread`, the
    deviation of the samples over that of the data.

    Parameters
    ----------
    model : of a single class
    count : samples
    sampler : further configuration entries of a sampler
    """
    rows = []
    for method in methods:
        for number in steps:
            model.evaluations = 0
            levels, x = paths(model, None, count, method=method, steps=number, **sampler)
            # Ahead of the last step, which ends at the expected image, where no flow leads.
            exact = model.flow(x[0], levels[0], levels[-2])
            rows.append(
                {
                    "method": method,
                    "steps": number,
                    "evaluations": model.evaluations,
                    "error": (x[-2] - exact).square().mean().sqrt().item()
                    if method in DETERMINISTIC
                    else None,
                    "spread": (x[-1].std() / model.deviations[0]).item(),
                }
            )
    return pd.DataFrame(rows).astype({"error": "float64"})
