"""The denoising network: diffusers' UNet2DModel on patches of pixels, told what to show."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from diffusers import UNet2DModel
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from workflow_scripts.diffusion.conditions import Conditions


class Network(nn.Module):
    """A UNet behind a space-to-depth step: 64² images at patch size 2 train at the price of 32².

    Its parameters are the UNet's own, so that diffusers alone reads them; the class label k of
    diffusers is the condition vector that is 1 in column k and 0 elsewhere.

    Parameters
    ----------
    channels : of the images that it says something about

    Attributes
    ----------
    patch_size, image_size : pixels
    width : columns of a condition vector
    given : channels of the image that it is given beside the noisy one; 0: it is given none

    Raises
    ------
    ValueError
        If the UNet is not one of patches of such images with an embedding of classes.
    """

    def __init__(self, unet: UNet2DModel, channels: int = 1):
        super().__init__()
        self.unet = unet
        into, out = unet.config.in_channels, unet.config.out_channels
        self.channels, self.patch_size = channels, math.isqrt(out // channels)
        self.given = into // self.patch_size**2 - channels if self.patch_size else -1
        if (
            unet.config.num_class_embeds is None
            or self.given < 0
            or (out, into)
            != tuple(n * self.patch_size**2 for n in (channels, channels + self.given))
        ):
            kind = "grey images" if channels == 1 else f"images of {channels} channels"
            raise ValueError(f"its network takes no conditions, or no patches of {kind}")
        self.image_size = unet.config.sample_size * self.patch_size
        self.width = unet.config.num_class_embeds
        unet.class_embedding = ConditionEmbedding.from_pretrained(
            unet.class_embedding.weight.detach(), freeze=False
        )
        for module in list(unet.modules()):
            for name, child in module.named_children():
                if type(child) is nn.Dropout and child.p > 0:
                    setattr(module, name, ByteDropout(child.p))

    def forward(self, x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        """Evaluate for images x (n, channels + given, h, w) at times t (n,) under c (n, width).

        Parameters
        ----------
        x : what the process calls its network input, and behind it the given image
        t : whole or fractional, what the process calls its network time
        c : float, rows of `Conditions`

        Returns
        -------
        (n, channels, h, w), in the units of the model's `prediction`
        """
        patches = pixel_unshuffle(x, self.patch_size)
        return pixel_shuffle(self.unet(patches, t, c).sample, self.patch_size)


class ConditionEmbedding(nn.Embedding):
    """An embedding of weighted sums of entries: (n, entries) to (n, features)."""

    def forward(self, c: Tensor) -> Tensor:
        return c @ self.weight


class ByteDropout(nn.Dropout):
    """Dropout whose mask is drawn eight elements at a time, for the CPU.

    There torch draws masks one 64-bit number per element and on one core. Bytes of such numbers
    do as well; they make `p` a multiple of 1/256, and what is kept is scaled for that very `p`,
    so that means are exact. The global generator decides the mask.
    """

    def __init__(self, p: float):
        self.threshold = min(round(256 * p), 255)
        super().__init__(self.threshold / 256)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or x.device.type != "cpu":
            return F.dropout(x, self.p, self.training)
        numbers = torch.empty(-(-x.numel() // 8), dtype=torch.int64)
        random = numbers.random_(-(2**63), None).view(torch.uint8)[: x.numel()].view(x.shape)
        # Compared as x's own type, which every byte fits into: types do not mix fast.
        return x * random.to(x.dtype).ge_(self.threshold).mul_(1 / (1 - self.p))


def build_network(
    settings: dict,
    image_size: int,
    width: int,
    attributes: int = 1,
    channels: int = 1,
    given: int = 0,
) -> Network:
    """Build an untrained network; torch's global generator decides its weights.

    Parameters
    ----------
    settings : the configuration section `network` of a model
    image_size : height and width in pixels
    width : columns of a condition vector
    attributes : blocks of these, of each of which one entry is stated
    channels : of the images
    given : channels of the image that the network is given beside
    """
    widths, patch = settings["channels"], settings["patch_size"]
    attends = [level in settings["attention_levels"] for level in range(len(widths))]
    heads = math.gcd(32, *widths)
    # At least four channels per group: a norm of single channels takes the mean of each away, so
    # that neither brightness nor the four pixels of a patch against each other reach the output.
    groups = math.gcd(heads, max(1, min(widths) // 4))
    unet = UNet2DModel(
        sample_size=image_size // patch,
        in_channels=(channels + given) * patch**2,
        out_channels=channels * patch**2,
        block_out_channels=widths,
        layers_per_block=settings["layers_per_block"],
        down_block_types=["AttnDownBlock2D" if a else "DownBlock2D" for a in attends],
        up_block_types=["AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)],
        add_attention=any(attends),  # self-attention in the middle as well
        attention_head_dim=heads,
        norm_num_groups=groups,
        dropout=settings["dropout"],
        num_class_embeds=width,
    )
    # One embedding per attribute is summed: together they vary as the one of N(0, 1) would.
    if attributes:
        nn.init.normal_(unet.class_embedding.weight, std=attributes**-0.5)
    return Network(unet, channels)


def network_of(facts: dict, conditions: Conditions) -> Network:
    """Return the untrained network that `facts` describes."""
    return build_network(
        facts["network"],
        facts["image_size"],
        conditions.width,
        len(conditions.attributes),
        facts["channels"],
        given_channels(facts),
    )


def given_channels(facts: dict) -> int:
    """Return how many channels the image has that a model is given beside the noisy one.

    None has a regressor: it sees the degraded image alone.
    """
    if facts["given"] is None or facts["diffusion"]["process"] == "regression":
        return 0
    return facts["channels"]


def beside(network: Callable[..., Tensor], given: Tensor | None) -> Callable[..., Tensor]:
    """Return the network with the given images behind those that it is called with."""
    if given is None:
        return network
    return lambda x, t, c: network(torch.cat([x, given], dim=1), t, c)
