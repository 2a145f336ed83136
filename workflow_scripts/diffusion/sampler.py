"""Sampling: from conditions and seeds to images, with guidance, in batches."""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.findings import NO_FINDING, column_name
from workflow_scripts.common.pixels import to_pixels
from workflow_scripts.common.precision import wants_bf16
from workflow_scripts.common.runtime import progress
from workflow_scripts.common.seeds import seed_for
from workflow_scripts.diffusion.grid import grid
from workflow_scripts.diffusion.model import Model
from workflow_scripts.diffusion.process import CLEAN, Level, Process, Regression
from workflow_scripts.diffusion.solvers import Denoise, solve

# What a sampler is where nothing else is asked for: the defaults of the configuration.
DEFAULTS = {
    "method": "dpm++2m",
    "steps": 20,
    "spacing": "auto",
    "sigma_min": None,
    "sigma_max": None,
    "guidance": 2.0,
    "guidance_interval": None,
    "guided": None,
    "churn": 40.0,
}


def draw(
    model: Model,
    finding: str | Sequence[str] | None = None,
    view: str | None = None,
    sex: str | None = None,
    age: float | None = None,
    count: int = 1,
    seed: int = 0,
    precision: str = "auto",
    **sampler,
) -> np.ndarray:
    """Draw images of what is asked for: uint8 or uint16, (count, height, width) or with channels.

    Of one finding, with its sampler's seed and settings, these are the very images that the
    workflow draws.

    Parameters
    ----------
    finding, view, sex, age : None leaves it open; several findings for a model of several
    seed : images of another seed are other images
    precision : configuration entry: auto, fp32 or bf16
    sampler : configuration entries of a sampler that are not to be as in `DEFAULTS`

    Raises
    ------
    InputError
        Naming the known values, if the model does not know what is asked for.
    """
    if strange := sorted(set(sampler) - set(DEFAULTS)):
        raise TypeError(f"no sampler has {', '.join(strange)}; it has {', '.join(DEFAULTS)}")
    c = model.conditions.vector(finding, view, sex, age).expand(count, -1)
    name = finding if isinstance(finding, str) else "|".join(finding or [])
    seeds = image_seeds(seed, name, range(count))
    bf16 = wants_bf16(precision, model.device)
    return to_pixels(sample(model, c, seeds, sampler, bf16=bf16), model.bits)


def stated(model: Model, class_name: str, condition: dict) -> Tensor:
    """Return the conditions of a class's images: float32 (width,).

    Parameters
    ----------
    condition : configuration entry of a sampler: what else they show, all alike; further findings
        but where there is to be none
    """
    further = [] if column_name(class_name) == NO_FINDING else condition.get("findings", [])
    findings = [class_name, *further]
    rest = {name: value for name, value in condition.items() if name != "findings"}
    return model.conditions.vector(findings, **rest)


def image_seeds(seed: int, name: str, numbers: Iterable[int]) -> Tensor:
    """Return the seeds of a class's images, named by what each is, not by where it is drawn."""
    return torch.tensor([seed_for(seed, name, int(k)) for k in numbers], dtype=torch.int64)


def sample(
    model: Model,
    c: Tensor,
    seeds: Tensor,
    sampler: dict,
    guide: Model | None = None,
    bf16: bool = False,
    given: Tensor | None = None,
    begin: Tensor | None = None,
) -> Tensor:
    """Return finished images: float32 (n, channels, h, w), about in [-1, 1], on the CPU.

    Image k depends on c[k], seeds[k], given[k] and begin[k] alone: see `trajectory`.

    Parameters
    ----------
    c : conditions, (n, width)
    seeds : int64 (n,)
    sampler : configuration section of a sampler; what it lacks is as in `DEFAULTS`
    guide : the worse model of autoguidance; None guides away from hidden conditions
    bf16 : compute the networks in bfloat16
    given : what the model is given to each image: degraded images, float32 (n, channels, h, w) in
        [-1, 1]; of a model that is given none, None
    begin : images at the first level of `plan`, to go on from instead of from pure noise; of a
        regressor the degraded images. Shaped as `given`
    """
    images = torch.empty(len(seeds), model.channels, model.image_size, model.image_size)
    size = batch_size(model)
    for start in progress(range(0, len(seeds), size), "sampling", unit="batch"):
        batch = slice(start, start + size)
        mine = [part if part is None else part[batch] for part in (given, begin)]
        *_, (_, x) = trajectory(model, c[batch], seeds[batch], sampler, guide, bf16, *mine)
        images[batch] = x
    return images


def batch_size(model: Model) -> int:
    """Return how many images the network sees at once: as many as fill the device."""
    if model.device.type == "cpu":
        return 16
    return max(1, min(128, 2**21 // model.image_size**2))


@torch.inference_mode()
def trajectory(
    model: Model,
    c: Tensor,
    seeds: Tensor,
    sampler: dict,
    guide: Model | None = None,
    bf16: bool = False,
    given: Tensor | None = None,
    begin: Tensor | None = None,
) -> Iterator[tuple[Level, Tensor]]:
    """Yield each level with x_t, from the noisiest to the finished images: float32 (n, c, h, w).

    Image k depends on c[k], seeds[k], given[k] and begin[k] alone. Its noise is a function of its seed, and the
    network always sees `batch_size` images: matrix products of another shape sum in another
    order, which would show as a grey level here and there.

    Parameters
    ----------
    c, seeds, sampler, guide, bf16, given, begin : as of `sample`, n <= batch_size(model)
    """
    settings, device, count = DEFAULTS | sampler, model.device, len(seeds)
    c, seeds, given, begin = (
        part if part is None else filled(part, batch_size(model)).to(device)
        for part in (c, seeds, given, begin)
    )
    shape = (model.channels, model.image_size, model.image_size)
    levels = plan(model.process, settings)
    guided_denoise = guided(model, c, settings, guide, given)

    def denoise(x: Tensor, level: Level) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return guided_denoise(x, level)

    x = levels[0].sigma * model.process.noise(seeds, 0, shape) if begin is None else begin
    solution = solve(
        settings["method"],
        denoise,
        x,
        levels,
        noise=lambda step: model.process.noise(seeds, 1 + step, shape),
        level_at=model.process.level_at,
        churn=settings["churn"],
    )
    yield levels[0], x[:count]
    for level, x in zip([*levels[1:], CLEAN], solution, strict=True):
        yield level, x[:count]


def plan(process: Process, settings: dict) -> list[Level]:
    """Return the levels of a sampler, from the noisiest on. A regressor has one.

    Left to itself, a sampler by Heun's method has the spacing that Karras et al. (2022) made for
    it; evenly spaced in time, its first step would go from almost nothing but noise far too far.
    It begins where the network's error is still bearable, unless its method clips x_0.
    """
    if isinstance(process, Regression):
        return [process.level(0.0)]
    spacing = settings["spacing"]
    if spacing == "auto" and settings["method"] in ("heun", "edm"):
        spacing = "karras"
    most = settings["sigma_max"]
    if most is None and settings["method"] != "ddpm":
        most = process.noisiest
    return grid(process, settings["steps"], spacing, settings["sigma_min"], most)


def filled(part: Tensor, count: int) -> Tensor:
    """Return a batch with zeros behind it, `count` in all."""
    return pad(part, (0, 0) * (part.ndim - 1) + (0, count - len(part)))


def guided(
    model: Model,
    c: Tensor,
    settings: dict,
    guide: Model | None = None,
    given: Tensor | None = None,
) -> Denoise:
    """Return the denoiser x_0' + w (x_0 − x_0') of conditions c, for guidance weight w.

    x_0' is what the model says with conditions hidden, those of `guided` alone if that is given:
    classifier-free guidance (Ho & Salimans 2022), in one doubled batch. With a `guide` it is what
    that worse model says of the same conditions: autoguidance (Karras et al. 2024). Outside the
    interval low < σ/α <= high there is no guidance (Kynkäänniemi et al. 2024), nor at w = 1.

    Of a model that is given an image, that is hidden (0) with the conditions.
    """
    if (given is None) != (model.network.given == 0):
        raise ValueError(f"the network is given {model.network.given} channels: give it as many")
    weight = settings["guidance"]
    low, high = settings["guidance_interval"] or (0.0, math.inf)

    def conditional(x: Tensor, level: Level) -> Tensor:
        return model.denoise(x, level, c, given)

    if weight == 1:
        return conditional
    if guide is None:
        both = torch.cat([c, model.conditions.hidden(c, settings["guided"])])
        seen = None if given is None else torch.cat([given, torch.zeros_like(given)])

        def pair(x: Tensor, level: Level) -> Sequence[Tensor]:
            return model.denoise(torch.cat([x, x]), level, both, seen).chunk(2)
    else:
        refuse_foreign(model, guide)

        def pair(x: Tensor, level: Level) -> Sequence[Tensor]:
            x_guide, level_guide = translated(x, level, model, guide)
            return conditional(x, level), guide.denoise(x_guide, level_guide, c, given)

    def denoise(x: Tensor, level: Level) -> Tensor:
        if not low < level.ratio <= high:
            return conditional(x, level)
        good, bad = pair(x, level)
        return bad + weight * (good - bad)

    return denoise


def refuse_foreign(model: Model, guide: Model) -> None:
    """Raise an `InputError` unless a guide takes the same images, given ones too, and conditions."""
    for what, of, other in (
        ("images of size", model.image_size, guide.image_size),
        ("channels", model.channels, guide.channels),
        ("given images", model.facts.get("given"), guide.facts.get("given")),
        ("the conditions", model.conditions.values, guide.conditions.values),
    ):
        if of != other:
            raise InputError(
                f"autoguidance: the model knows {what} {of}, its guide {other}. Give both models "
                "the same, or choose another guide."
            )


def translated(x: Tensor, level: Level, model: Model, guide: Model) -> tuple[Tensor, Level]:
    """Return x and its level as the guide's process has them: of the same noise over signal."""
    if guide.facts["diffusion"] == model.facts["diffusion"]:
        return x, level
    _, high = guide.process.sigma_range
    other = guide.process.level_at(min(level.ratio, high, guide.process.noisiest))
    return other.sigma / level.sigma * x, other
