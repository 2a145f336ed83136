"""Weights that a published number was made with, and what a number may be called.

FID is the Fréchet distance between features of one particular file, and so is every name of this
kind. A value from other weights carries the name of its formula instead.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Weights:
    """A file as its authors publish it."""

    url: str
    sha256: str


# `xrv` is torchxrayvision's network trained on CheXpert. Its `mimic_ch` and `pc` networks serve as
# well, as state dicts; `nih` and `all` do not judge NIH images: they may have been trained on our test patients
# (torchxrayvision#47).
PUBLISHED = {
    "inception": Weights(
        "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt",
        "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
    ),
    "xrv": Weights(
        "https://github.com/mlmed/torchxrayvision/releases/download/v1/chex-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt",
        "1a914ae802170187a4852e594708206c12468eeeefd66aa4e8e26141649d61a4",
    ),
    "dinov2": Weights(
        "https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth",
        "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9",
    ),
    "alex": Weights(
        "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    ),
    "squeeze": Weights(
        "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
        "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
    ),
}

# (metric, extractor): the name that is only for the published weights of that extractor.
NAMES = {
    ("frechet_distance", "inception"): "FID",
    ("frechet_distance_infinity", "inception"): "FID∞",
    ("kernel_distance", "inception"): "KID",
    ("class_score", "inception"): "Inception Score",
    ("lpips_diversity", "alex"): "LPIPS diversity (AlexNet)",
    ("lpips_diversity", "squeeze"): "LPIPS diversity (SqueezeNet)",
}
FORMULAS = {
    "frechet_distance": "Fréchet distance",
    "frechet_distance_infinity": "Fréchet distance at infinite N",
    "kernel_distance": "Kernel distance (MMD², cubic)",
    "gaussian_kernel_distance": "Kernel distance (MMD², Gaussian)",
    "precision": "Precision",
    "recall": "Recall",
    "density": "Density",
    "coverage": "Coverage",
    "class_score": "Class score, exp of mean KL",
    "lpips_diversity": "Perceptual diversity, not the published weights",
    "msssim_diversity": "MS-SSIM diversity",
    "class_accuracy": "Seen as the class asked for",
    "class_auroc": "AUROC of the class asked for",
    "classification_accuracy_score": "Accuracy on real images after training on synthetic ones",
    "cardiothoracic_ratio_distance": "Cardiothoracic ratio, distance of distributions",
    "effusion_height_distance": "Effusion height, distance of distributions",
    "intensity_distance": "Grey levels, distance of histograms",
    "spectrum_distance": "Power spectrum, mean difference in dB",
    "sharpness_ratio": "Edge sharpness, ratio to real",
    "memorised_fraction": "Nearer to training images than nearly all unseen ones are",
    "closer_to_train": "Nearer to a training image than to an unseen one",
}


def name_of(metric: str, extractor: str, weights_sha256: str | None) -> str:
    """Return what a value may be called: a published name only with the published weights."""
    published = PUBLISHED.get(extractor)
    if published and published.sha256 == weights_sha256:
        return NAMES.get((metric, extractor), FORMULAS[metric])
    return FORMULAS[metric]
