"""The works that a run rests on."""

ALWAYS = [
    "Ho J, Jain A, Abbeel P. Denoising Diffusion Probabilistic Models. NeurIPS 2020.",
    "Ho J, Salimans T. Classifier-Free Diffusion Guidance. NeurIPS Workshop 2021.",
    "von Platen P, et al. Diffusers: State-of-the-art diffusion models. Hugging Face, 2022.",
    "Mölder F, et al. Sustainable data analysis with Snakemake. F1000Research 2021;10:33.",
]
NIH = (
    "Wang X, Peng Y, Lu L, Lu Z, Bagheri M, Summers RM. ChestX-ray8: Hospital-scale Chest X-ray "
    "Database and Benchmarks on Weakly-Supervised Classification and Localization of Common Thorax "
    "Diseases. CVPR 2017, 2097–2106. The data set, grown to ChestX-ray14, is provided by the NIH "
    "Clinical Center."
)
COSINE = "Nichol A, Dhariwal P. Improved Denoising Diffusion Probabilistic Models. ICML 2021."
VELOCITY = (
    "Salimans T, Ho J. Progressive Distillation for Fast Sampling of Diffusion Models. ICLR 2022."
)
MIN_SNR = "Hang T, et al. Efficient Diffusion Training via Min-SNR Weighting Strategy. ICCV 2023."
ZERO_SNR = (
    "Lin S, Liu B, Li J, Yang X. Common Diffusion Noise Schedules and Sample Steps are Flawed. "
    "WACV 2024."
)
DDIM = "Song J, Meng C, Ermon S. Denoising Diffusion Implicit Models. ICLR 2021."
DPM = (
    "Lu C, et al. DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models. "
    "2022, arXiv:2211.01095."
)
FID = (
    "Heusel M, et al. GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash "
    "Equilibrium. NeurIPS 2017. (FID)"
)
KID = "Bińkowski M, et al. Demystifying MMD GANs. ICLR 2018. (KID)"
LPIPS = (
    "Zhang R, et al. The Unreasonable Effectiveness of Deep Features as a Perceptual Metric. "
    "CVPR 2018. (LPIPS)"
)
CLEAN_FID = (
    "Parmar G, Zhang R, Zhu J-Y. On Aliased Resizing and Surprising Subtleties in GAN Evaluation. "
    "CVPR 2022. (clean-fid)"
)
XRV = "Cohen JP, et al. TorchXRayVision: A library of chest X-ray datasets and models. MIDL 2022."


def references(config: dict) -> list[str]:
    """Return what a run with this configuration should cite, the data set first."""
    kind = config["dataset"]["kind"]
    diffusion = [model["diffusion"] for model in config["models"].values()]
    methods = {sampler["method"] for sampler in config["samplers"].values()}
    extractors = config["evaluate"]["extractors"]
    chosen = [
        (kind == "nih", NIH),
        (any(part["schedule"] == "cosine" for part in diffusion), COSINE),
        (any(part["prediction"] == "v" for part in diffusion), VELOCITY),
        (any(part["weighting"] == "min_snr" for part in diffusion), MIN_SNR),
        (any(part["zero_terminal_snr"] for part in diffusion), ZERO_SNR),
        ("ddim" in methods, DDIM),
        ("dpm++2m" in methods, DPM),
        (bool(extractors), FID),
        (bool(extractors), KID),
        (bool(config["evaluate"]["lpips"]), LPIPS),
        ("inception" in extractors, CLEAN_FID),
        ("xrv" in extractors or kind == "nih", XRV),
    ]
    found = [text for wanted, text in chosen if wanted]
    data = found[:1] if kind == "nih" else []
    return data + ALWAYS + found[len(data) :]
