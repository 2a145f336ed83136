"""A small convolutional autoencoder of healthy images, which others are compared with.

What it has not learned to draw it cannot reconstruct: Baur, Denner, Wiestler, Navab & Albarqouni,
"Autoencoders for unsupervised anomaly segmentation in brain MR images: a comparative study", 2021,
whose bottleneck, a vector, it has.
"""

import math

from torch import Tensor, nn

CODE = 8  # width in pixels at which the convolutions end
CHANNELS = 16, 32, 64  # after the first halvings; further ones keep the last


class Autoencoder(nn.Module):
    """Convolutions that halve an image down to about `CODE` pixels, a vector, and the way back.

    Parameters
    ----------
    size : height and width of images in pixels, a multiple of what the halvings divide it by
    channels : of an image
    latent : length of the vector
    """

    def __init__(self, size: int, channels: int, latent: int):
        super().__init__()
        halvings = halvings_of(size)
        widths = [CHANNELS[min(k, len(CHANNELS) - 1)] for k in range(halvings)]
        side = size // 2**halvings
        down, up, before = [], [], channels
        for width in widths:
            down += [nn.Conv2d(before, width, 4, 2, 1), nn.GroupNorm(8, width), nn.SiLU()]
            before = width
        for width, last in zip(widths[::-1], [*widths[-2::-1], channels], strict=True):
            up = [*up, nn.ConvTranspose2d(width, last, 4, 2, 1)]
            if len(up) < 3 * halvings - 2:
                up += [nn.GroupNorm(8, last), nn.SiLU()]
        inner = widths[-1] * side**2
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(inner, latent))
        self.decoder = nn.Sequential(
            nn.Linear(latent, inner), nn.SiLU(), nn.Unflatten(1, (widths[-1], side, side)), *up
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return reconstructions of images (n, channels, size, size), about in [-1, 1]."""
        return self.decoder(self.encoder(images))


def halvings_of(size: int) -> int:
    """Return how often an image is halved: to `CODE` pixels or just above, once at least, as far as
    it stays whole."""
    wanted = max(1, round(math.log2(size / CODE)))
    return max(n for n in range(1, wanted + 1) if size % 2**n == 0)


def parameters(model: nn.Module) -> int:
    """Return how many numbers are learned."""
    return sum(parameter.numel() for parameter in model.parameters())
