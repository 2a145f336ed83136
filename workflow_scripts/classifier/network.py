"""Image classifiers: a compact network of our own, or one of torchvision's."""

import torch
from torch import nn

BACKBONES = ("small", "resnet18", "resnet50", "densenet121")


class Classifier(nn.Module):
    """A body that turns images into features, and a linear head that turns them into logits.

    Images are float32 (n, channels, height, width) in [-1, 1].
    """

    def __init__(self, backbone: str, body: nn.Module, width: int, classes: int, channels: int):
        super().__init__()
        self.backbone, self.width, self.classes = backbone, width, classes
        self.channels = channels
        self.body = body
        self.head = nn.Linear(width, classes)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return what the head sees: float32 (n, width)."""
        return self.body(images)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits, (n, classes)."""
        return self.head(self.features(images))


def build(backbone: str, classes: int, channels: int = 1) -> Classifier:
    """Return a freshly initialised classifier; torch's seed decides its weights.

    Parameters
    ----------
    backbone : one of BACKBONES
    classes : number of classes
    channels : of the images

    Raises
    ------
    ValueError
        If the backbone is unknown.
    """
    if backbone == "small":
        return Classifier(backbone, small_body(channels), SMALL_CHANNELS[-1], classes, channels)
    import torchvision  # takes as long to load as PyTorch, and most classifiers do without it

    if backbone.startswith("resnet") and backbone in BACKBONES:
        body = torchvision.models.get_model(backbone, weights=None)
        body.conv1 = first_of(channels, body.conv1)
        width, body.fc = body.fc.in_features, nn.Identity()
    elif backbone in BACKBONES:
        body = torchvision.models.get_model(backbone, weights=None)
        body.features.conv0 = first_of(channels, body.features.conv0)
        width, body.classifier = body.classifier.in_features, nn.Identity()
    else:
        raise ValueError(f"no backbone {backbone!r}; there are {', '.join(BACKBONES)}")
    return Classifier(backbone, body, width, classes, channels)


SMALL_CHANNELS = (32, 64, 128, 256)


def small_body(image_channels: int) -> nn.Sequential:
    """Return four stages that each halve the image, and the mean over all places: 0.54 M weights.

    The third stage, 8x8 places of a 64x64 image, gets a second convolution: there a place has
    seen enough of the image to compare structures, and there it costs little.
    """
    layers, before = [], image_channels
    for stage, channels in enumerate(SMALL_CHANNELS):
        layers += block(before, channels, kernel=5 if stage == 0 else 3, stride=2)
        if stage == 2:
            layers += block(channels, channels, kernel=3, stride=1)
        before = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def block(before: int, channels: int, kernel: int, stride: int) -> list[nn.Module]:
    """Return convolution, batch normalisation and SiLU."""
    return [
        nn.Conv2d(before, channels, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels),
        nn.SiLU(inplace=True),
    ]


def first_of(channels: int, like: nn.Conv2d) -> nn.Conv2d:
    """Return a first convolution like the one given, for another number of channels."""
    return nn.Conv2d(
        channels, like.out_channels, like.kernel_size, like.stride, like.padding, bias=False
    )
