"""Samples images from this model with diffusers alone.

    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
    images = pipeline(finding="Effusion", batch_size=4).images

This file travels with the weights and imports torch, numpy and diffusers, nothing else.
"""

import math

import numpy as np
import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput, UNet2DModel
from diffusers.utils.torch_utils import randn_tensor
from torch import nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle


class ConditionEmbedding(nn.Module):
    """An embedding that takes a weight for each entry: (n, entries) to (n, features)."""

    def __init__(self, weight: torch.Tensor):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, c: torch.Tensor) -> torch.Tensor:
        return c @ self.weight


class ConditionalPipeline(DiffusionPipeline):
    """A UNet on patches of pixels, told what to show, under any of diffusers' solvers.

    Parameters
    ----------
    unet : its class embedding has one entry per column of the condition vector
    scheduler : DPM-Solver++ (2M) as exported; of models that are not EDM's also others of
        diffusers, made `from_config` of its
    conditions : for each attribute (finding, view, sex, age) the values that the model knows; each
        has a block of columns, one per value and a last one for "not stated"
    time_offset, time_scale : the network's time is (the scheduler's + offset) × scale
    channels : of the images
    """

    # What has a default stands in model_index.json itself; the others are folders beside it.
    def __init__(
        self,
        unet: UNet2DModel,
        scheduler,
        conditions: dict | None = None,
        time_offset: int = 0,
        time_scale: float = 1.0,
        channels: int = 1,
    ):
        super().__init__()
        if not isinstance(unet.class_embedding, ConditionEmbedding):
            unet.class_embedding = ConditionEmbedding(unet.class_embedding.weight.detach())
        self.register_modules(unet=unet, scheduler=scheduler)
        self.register_to_config(
            conditions=conditions,
            time_offset=time_offset,
            time_scale=time_scale,
            channels=channels,
        )

    @torch.no_grad()
    def __call__(
        self,
        finding: str | list[str] | None = None,
        view: str | None = None,
        sex: str | None = None,
        age: float | None = None,
        batch_size: int = 1,
        num_inference_steps: int = 20,
        guidance_scale: float = 1.0,
        guidance_interval: tuple[float, float] | None = None,
        guided: list[str] | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        noise: torch.Tensor | None = None,
        output_type: str = "pil",
    ) -> ImagePipelineOutput:
        """Draw images of what is asked for; what is None is left open.

        Parameters
        ----------
        finding : one name, or several where the model was trained on images with several findings;
            an empty list leaves it open
        view, sex : for example "AP", "F"
        age : in years
        guidance_scale : 1 is the model as it is; more shows what is asked for more plainly and
            less variedly (Ho & Salimans 2022)
        guidance_interval : noise over signal, σ/α, between which to guide (Kynkäänniemi et al.
            2024); None: everywhere
        guided : which conditions to show more plainly; None: all
        noise : (batch_size, channels, height, width) from N(0, 1) instead of numbers of `generator`
        output_type : "pil", of 8 bits, grey or in colour; "np" (n, height, width, channels) in
            [0, 1]; or "pt" (n, channels, height, width) in [-1, 1], not clipped

        Raises
        ------
        ValueError
            If the model does not know what is asked for, the scheduler has no noise levels to guide
            between, or there is no PIL image of so many channels.
        """
        device, channels = self.device, self.config.channels
        if output_type == "pil" and channels not in (1, 3):
            raise ValueError(
                f'no "pil" image has {channels} channels; take output_type "np" or "pt"'
            )
        patch = math.isqrt(self.unet.config.in_channels // channels)
        size = self.unet.config.sample_size * patch
        if noise is None:
            shape = (batch_size, channels, size, size)
            noise = randn_tensor(shape, generator, device, torch.float32)
        if guidance_interval is not None and not hasattr(self.scheduler, "sigmas"):
            raise ValueError(
                f"{type(self.scheduler).__name__} states no noise levels σ/α, so that it cannot "
                "keep to a guidance_interval; leave it None, or take another scheduler"
            )
        given = {"finding": finding, "view": view, "sex": sex, "age": age}
        hidden = given if guided is None else guided
        self.refuse_unknown(guided or [])
        kept = {name: value for name, value in given.items() if name not in hidden}
        asked, without = (
            self.condition(**stated).to(device, self.unet.dtype).expand(len(noise), -1)
            for stated in (given, kept)
        )

        self.scheduler.set_timesteps(num_inference_steps, device=device)
        x = noise.to(device) * self.scheduler.init_noise_sigma
        for number, t in enumerate(self.progress_bar(self.scheduler.timesteps)):
            guide = guidance_scale != 1
            if guide and guidance_interval is not None:
                low, high = guidance_interval
                guide = low < float(self.scheduler.sigmas[number]) <= high
            inputs = pixel_unshuffle(self.scheduler.scale_model_input(x, t), patch)
            c = asked
            if guide:
                inputs, c = torch.cat([inputs, inputs]), torch.cat([asked, without])
            time = (t + self.config.time_offset) * self.config.time_scale
            output = self.unet(inputs.to(self.unet.dtype), time, c).sample.float()
            if guide:
                good, bad = output.chunk(2)
                output = bad + guidance_scale * (good - bad)
            x = self.scheduler.step(pixel_shuffle(output, patch), t, x).prev_sample
        if output_type == "pt":
            return ImagePipelineOutput(images=x)
        images = ((x + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
        return ImagePipelineOutput(
            images=self.numpy_to_pil(images) if output_type == "pil" else images
        )

    def condition(self, finding=None, view=None, sex=None, age=None) -> torch.Tensor:
        """Return the condition vector: float32 (columns,)."""
        given = {"finding": finding, "view": view, "sex": sex, "age": age}
        given = {name: None if value in ([], ()) else value for name, value in given.items()}
        self.refuse_unknown(name for name, value in given.items() if value is not None)
        blocks = []
        for name, values in self.config.conditions.items():
            value = given[name]
            block = np.zeros(len(values) + 1, np.float32)
            if value is None:
                block[-1] = 1
            elif name == "age":  # between two columns it has a share in both
                low, high = max(0, values[0] - 20), values[-1] + 20
                if not low <= value <= high:
                    raise ValueError(f"no age {value} is known; ask for {low} to {high} years")
                block[:-1] = [np.interp(value, values, unit) for unit in np.eye(len(values))]
            else:
                for entry in [value] if isinstance(value, str) else value:
                    if entry not in values:
                        raise ValueError(f"{name} {entry!r} is not one of {', '.join(values)}")
                    block[values.index(entry)] = 1
            blocks.append(block)
        return torch.from_numpy(np.concatenate(blocks))

    def refuse_unknown(self, names) -> None:
        """Raise a ValueError that names what the model is told of no image."""
        known = self.config.conditions
        for name in names:
            if name not in known:
                raise ValueError(f"this model knows no {name}; it knows {', '.join(known)}")
