"""The denoising network: diffusers' UNet2DModel, class-conditional, on patches of pixels."""

import math
from pathlib import Path

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import REMAKE


class Denoiser(nn.Module):
    """A UNet behind a space-to-depth step: 64² images at patch size 2 train at the price of 32².

    Class `classes` (one past the last) is the null class of classifier-free guidance.
    """

    def __init__(self, unet: UNet2DModel):
        super().__init__()
        self.unet = unet
        self.patch_size = math.isqrt(unet.config.in_channels)
        self.image_size = unet.config.sample_size * self.patch_size
        self.null_class = unet.config.num_class_embeds - 1

    def forward(self, x: Tensor, t: Tensor, classes: Tensor) -> Tensor:
        """Predict for images x (n, 1, h, w) at time steps t (n,) of classes (n,) int64.

        Returns a tensor shaped as x, in the units of the model's `prediction`.
        """
        patches = pixel_unshuffle(x, self.patch_size)
        return pixel_shuffle(self.unet(patches, t, classes).sample, self.patch_size)


def build_denoiser(settings: dict, image_size: int, classes: int) -> Denoiser:
    """Build an untrained network.

    Parameters
    ----------
    settings : the configuration section `network` of a model
    image_size : height and width in pixels
    classes : number of classes, without the null class
    """
    channels, patch = settings["channels"], settings["patch_size"]
    attends = [level in settings["attention_levels"] for level in range(len(channels))]
    group = math.gcd(32, *channels)
    unet = UNet2DModel(
        sample_size=image_size // patch,
        in_channels=patch**2,
        out_channels=patch**2,
        block_out_channels=channels,
        layers_per_block=settings["layers_per_block"],
        down_block_types=["AttnDownBlock2D" if a else "DownBlock2D" for a in attends],
        up_block_types=["AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)],
        add_attention=any(attends),  # self-attention in the middle as well
        attention_head_dim=group,
        norm_num_groups=group,
        dropout=settings["dropout"],
        num_class_embeds=classes + 1,
    )
    return Denoiser(unet)


def load_denoiser(weights: str | Path, device: torch.device | str = "cpu") -> Denoiser:
    """Load a trained network, ready to evaluate, from its safetensors file."""
    folder = Path(weights).parent
    try:
        unet = UNet2DModel.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False
        )
    except OSError as error:
        raise InputError(
            f"{folder} holds no model that can be loaded ({error}). {REMAKE}"
        ) from None
    return Denoiser(unet).to(device).eval().requires_grad_(False)
