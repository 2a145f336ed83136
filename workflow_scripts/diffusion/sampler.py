"""Sampling: from noise to images, with classifier-free guidance."""

from collections.abc import Iterator, Sequence

import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler
from torch import Tensor

from workflow_scripts.diffusion.network import Denoiser
from workflow_scripts.diffusion.schedule import make_betas

BATCH = 16
PREDICTION_TYPES = {"epsilon": "epsilon", "sample": "sample", "v": "v_prediction"}


def make_scheduler(sampler: dict, diffusion: dict):
    """Return the diffusers scheduler of a configured sampler for a configured process.

    Time steps are spaced `trailing`, so that sampling starts at T − 1, where training ended
    (Lin et al. 2024, section 3.3).
    """
    betas = make_betas(
        diffusion["schedule"], diffusion["timesteps"], diffusion["zero_terminal_snr"]
    )
    common = {
        "num_train_timesteps": diffusion["timesteps"],
        "trained_betas": betas.numpy(),
        "prediction_type": PREDICTION_TYPES[diffusion["prediction"]],
        "timestep_spacing": "trailing",
    }
    if sampler["method"] == "ddpm":
        scheduler = DDPMScheduler(**common, clip_sample=True)
    else:
        # DDIM is the first-order DPM-Solver++ (Lu et al. 2022, section 4.1); diffusers' own DDIM
        # ends before t = 0 where the steps do not divide the time steps.
        order = {"ddim": 1, "dpm++2m": 2}[sampler["method"]]
        scheduler = DPMSolverMultistepScheduler(
            **common, solver_order=order, final_sigmas_type="zero"
        )
        # The solver works in log-SNR, which must stay finite; diffusers uses the same bound.
        scheduler.alphas_cumprod.clamp_(min=2**-24)
        alpha_bar = scheduler.alphas_cumprod
        scheduler.alpha_t, scheduler.sigma_t = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        scheduler.lambda_t = scheduler.alpha_t.log() - scheduler.sigma_t.log()
        scheduler.sigmas = scheduler.sigma_t / scheduler.alpha_t
    scheduler.set_timesteps(sampler["steps"])
    return scheduler


@torch.inference_mode()
def trajectory(
    denoiser: Denoiser,
    classes: Tensor,
    seeds: Sequence[int],
    sampler: dict,
    diffusion: dict,
    bf16: bool = False,
) -> Iterator[Tensor]:
    """Yield x_t for every step from pure noise to the finished images: float32 (n, 1, h, w).

    Image k depends on `seeds[k]` and `classes[k]` alone. Each has a random stream of its own,
    drawn on the CPU, and the network always sees BATCH images: matrix products of another shape
    sum in another order, which would show as a grey level here and there.

    Parameters
    ----------
    classes : int64 (n,), n <= BATCH
    seeds : n seeds
    sampler, diffusion : configuration sections of the sampler and of the model's process
    bf16 : compute the network in bfloat16
    """
    count, device = len(seeds), next(denoiser.parameters()).device
    padding = BATCH - count
    classes = torch.cat([classes, classes.new_zeros(padding)]).to(device)
    streams = [torch.Generator().manual_seed(seed) for seed in [*seeds, *[0] * padding]]
    shape = (1, 1, denoiser.image_size, denoiser.image_size)
    x = torch.cat([torch.randn(shape, generator=stream) for stream in streams]).to(device)
    scheduler = make_scheduler(sampler, diffusion)
    noise = {"generator": streams} if sampler["method"] == "ddpm" else {}
    yield x[:count]
    for t in scheduler.timesteps:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            output = guided(denoiser, x, t, classes, sampler["guidance"]).float()
        x = scheduler.step(output, t, x, **noise).prev_sample
        yield x[:count]


def guided(denoiser: Denoiser, x: Tensor, t: Tensor, classes: Tensor, weight: float) -> Tensor:
    """Classifier-free guidance (Ho & Salimans 2022): u + w · (c − u), both in one doubled batch."""
    t = t.to(x.device).expand(len(x))
    if weight == 1:
        return denoiser(x, t, classes)
    null = torch.full_like(classes, denoiser.null_class)
    both = denoiser(torch.cat([x, x]), torch.cat([t, t]), torch.cat([classes, null]))
    conditional, unconditional = both.chunk(2)
    return unconditional + weight * (conditional - unconditional)
