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
SIGMOID = (
    "Jabri A, Fleet D, Chen T. Scalable Adaptive Computation for Iterative Generation. 2022, "
    "arXiv:2212.11972. (sigmoid schedule)"
)
SIMPLE = (
    "Hoogeboom E, Heek J, Salimans T. simple diffusion: End-to-end diffusion for high resolution "
    "images. ICML 2023."
)
SDE = (
    "Song Y, et al. Score-Based Generative Modeling through Stochastic Differential Equations. "
    "ICLR 2021."
)
EDM = (
    "Karras T, Aittala M, Aila T, Laine S. Elucidating the Design Space of Diffusion-Based "
    "Generative Models. NeurIPS 2022. (EDM)"
)
EMA = (
    "Karras T, et al. Analyzing and Improving the Training Dynamics of Diffusion Models. CVPR 2024. "
    "(power-function EMA)"
)
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
UNIPC = (
    "Zhao W, et al. UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion "
    "Models. NeurIPS 2023."
)
INTERVAL = (
    "Kynkäänniemi T, et al. Applying Guidance in a Limited Interval Improves Sample and "
    "Distribution Quality in Diffusion Models. NeurIPS 2024."
)
AUTOGUIDANCE = (
    "Karras T, et al. Guiding a Diffusion Model with a Bad Version of Itself. NeurIPS 2024. "
    "(autoguidance)"
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
FID_INFINITY = (
    "Chong MJ, Forsyth D. Effectively Unbiased FID and Inception Score and Where to Find Them. "
    "CVPR 2020."
)
CMMD = (
    "Jayasumana S, et al. Rethinking FID: Towards a Better Evaluation Metric for Image Generation. "
    "CVPR 2024. (Gaussian-kernel MMD)"
)
PRECISION = (
    "Kynkäänniemi T, et al. Improved Precision and Recall Metric for Assessing Generative Models. "
    "NeurIPS 2019."
)
DENSITY = (
    "Naeem MF, et al. Reliable Fidelity and Diversity Metrics for Generative Models. ICML 2020. "
    "(density, coverage)"
)
INCEPTION_SCORE = (
    "Salimans T, et al. Improved Techniques for Training GANs. NeurIPS 2016. (Inception Score)"
)
MSSSIM = (
    "Wang Z, Simoncelli EP, Bovik AC. Multiscale Structural Similarity for Image Quality "
    "Assessment. Asilomar Conference on Signals, Systems and Computers 2003, 1398–1402."
)
CAS = (
    "Ravuri S, Vinyals O. Classification Accuracy Score for Conditional Generative Models. "
    "NeurIPS 2019."
)
DINO = (
    "Oquab M, et al. DINOv2: Learning Robust Visual Features without Supervision. TMLR 2024, "
    "arXiv:2304.07193."
)
DELONG = (
    "DeLong ER, DeLong DM, Clarke-Pearson DL. Comparing the Areas under Two or More Correlated "
    "Receiver Operating Characteristic Curves: A Nonparametric Approach. Biometrics 1988;44:837–845."
)
HOLM = (
    "Holm S. A Simple Sequentially Rejective Multiple Test Procedure. Scandinavian Journal of "
    "Statistics 1979;6:65–70."
)
CALIBRATION = (
    "Guo C, Pleiss G, Sun Y, Weinberger KQ. On Calibration of Modern Neural Networks. ICML 2017."
)
COPYING = (
    "Meehan C, Chaudhuri K, Dasgupta S. A Non-Parametric Test to Detect Data-Copying in Generative "
    "Models. AISTATS 2020."
)
XRV = "Cohen JP, et al. TorchXRayVision: A library of chest X-ray datasets and models. MIDL 2022."

HAUTUS = (
    "Hautus MJ. Corrections for Extreme Proportions and Their Biasing Effects on Estimated Values "
    "of d′. Behavior Research Methods, Instruments, & Computers 1995;27:46–51."
)
GOUREVITCH = (
    "Gourevitch V, Galanter E. A Significance Test for One Parameter Isosensitivity Functions. "
    "Psychometrika 1967;32:25–33."
)
KRIPPENDORFF = (
    "Krippendorff K. Content Analysis: An Introduction to Its Methodology. 2nd edition. Sage, 2004."
)
KORN = (
    "Korn EL, Graubard BI. Confidence Intervals for Proportions with Small Expected Number of "
    "Positive Counts Estimated from Survey Data. Survey Methodology 1998;24:193–201."
)
SSIM = (
    "Wang Z, Bovik AC, Sheikh HR, Simoncelli EP. Image Quality Assessment: From Error Visibility to "
    "Structural Similarity. IEEE Transactions on Image Processing 2004;13:600–612. (SSIM)"
)
NLM = (
    "Buades A, Coll B, Morel J-M. A Non-Local Algorithm for Image Denoising. CVPR 2005, 60–65. "
    "(non-local means)"
)
RICIAN = (
    "Gudbjartsson H, Patz S. The Rician Distribution of Noisy MRI Data. Magnetic Resonance in "
    "Medicine 1995;34:910–914."
)
REPAINT = "Lugmayr A, et al. RePaint: Inpainting using Denoising Diffusion Probabilistic Models. CVPR 2022."
BIHARMONIC = (
    "Damelin SB, Hoang NS. On Surface Completion and Image Inpainting by Biharmonic Functions: "
    "Numerical Aspects. International Journal of Mathematics and Mathematical Sciences 2018."
)
SR3 = (
    "Saharia C, et al. Image Super-Resolution via Iterative Refinement. IEEE Transactions on Pattern "
    "Analysis and Machine Intelligence 2023;45:4713–4726. (SR3)"
)
SRDIFF = (
    "Li H, et al. SRDiff: Single Image Super-Resolution with Diffusion Probabilistic Models. "
    "Neurocomputing 2022;479:47–59."
)
KEYS = (
    "Keys R. Cubic Convolution Interpolation for Digital Image Processing. IEEE Transactions on "
    "Acoustics, Speech, and Signal Processing 1981;29:1153–1160."
)
ANODDPM = (
    "Wyatt J, Leach A, Schmon SM, Willcocks CG. AnoDDPM: Anomaly Detection with Denoising Diffusion "
    "Probabilistic Models using Simplex Noise. CVPR Workshops 2022."
)
WOLLEB = (
    "Wolleb J, Bieder F, Sandkühler R, Cattin PC. Diffusion Models for Medical Anomaly Detection. "
    "MICCAI 2022."
)
BAUR = (
    "Baur C, Denner S, Wiestler B, Navab N, Albarqouni S. Autoencoders for Unsupervised Anomaly "
    "Segmentation in Brain MR Images: A Comparative Study. Medical Image Analysis 2021;69:101952. "
    "(autoencoder)"
)
OWEN = "Owen AB. The Pigeonhole Bootstrap. Annals of Applied Statistics 2007;1:386–411."


def references(config: dict) -> list[str]:
    """Return what a run with this configuration should cite, the data set first."""
    kind = config["dataset"]["kind"]
    models = config["models"].values()
    samplers = config["samplers"].values()
    extractors = config["evaluate"]["extractors"]
    shown = config["report"]["applications"]

    def entries(name: str) -> list[dict]:
        """Return the entries of an application that is shown."""
        return list(config[name].values()) if name in shown else []

    denoisers = [
        (study, method)
        for study in entries("denoising")
        for method in study["methods"].values()
        if method["kind"] == "diffusion"
    ]
    recipes = [
        *(one["diffusion"] for one in (*models, *entries("superresolution"))),
        *(method["diffusion"] for _, method in denoisers),
    ]
    ways = [
        *samplers,
        *(entry["sampler"] for entry in entries("superresolution")),
        *(study["sampler"] | method["sampler"] for study, method in denoisers),
        *({"method": way} for study in entries("denoising") for way in study["sweep"]["samplers"]),
        *(entry["sampler"] for entry in entries("inpainting")),
        *({"method": "ddim"} for _ in entries("anomaly")),
    ]

    def diffusion(key: str, *values: str | bool) -> bool:
        """Whether a model has one of these values; not every process has every key."""
        return any(recipe.get(key) in values for recipe in recipes)

    def sampling(key: str, *values: str) -> bool:
        """Whether something is drawn so; not every way to draw has every key."""
        return any(way.get(key) in values for way in ways)

    edm = diffusion("process", "edm") or sampling("method", "heun", "edm")
    chosen = [
        (kind == "nih", NIH),
        (diffusion("process", "vp_sde"), SDE),
        (edm or sampling("spacing", "karras"), EDM),
        (diffusion("schedule", "cosine"), COSINE),
        (diffusion("schedule", "sigmoid"), SIGMOID),
        (diffusion("process", "vp_sde") or diffusion("resolution_shift", True), SIMPLE),
        (diffusion("prediction", "v"), VELOCITY),
        (diffusion("weighting", "min_snr"), MIN_SNR),
        (diffusion("zero_terminal_snr", True), ZERO_SNR),
        (bool(models), EMA),
        (sampling("method", "ddim"), DDIM),
        (sampling("method", "dpm++2m", "dpm++2m_sde"), DPM),
        (sampling("method", "unipc"), UNIPC),
        (any(sampler["guidance_interval"] is not None for sampler in samplers), INTERVAL),
        (any(sampler["autoguidance"] is not None for sampler in samplers), AUTOGUIDANCE),
        (bool(extractors), FID),
        (bool(extractors), FID_INFINITY),
        (bool(extractors), KID),
        (bool(extractors), CMMD),
        (bool(extractors), PRECISION),
        (bool(extractors), DENSITY),
        (bool(extractors), INCEPTION_SCORE),
        (bool(config["evaluate"]["lpips"]), LPIPS),
        (bool(samplers), MSSSIM),
        (bool(samplers), CAS),
        (bool(samplers), COPYING),
        ("inception" in extractors, CLEAN_FID),
        ("xrv" in extractors or kind == "nih", XRV),
        ("dinov2" in extractors, DINO),
        (bool(config["studies"]), DELONG),
        (bool(config["studies"]), HOLM),
        (bool(config["studies"]), CALIBRATION),
        (bool(samplers) or bool(config["readers"]), KORN),
        (bool(config["readers"]), HAUTUS),
        (bool(config["readers"]), GOUREVITCH),
        (bool(config["readers"]), KRIPPENDORFF),
        (bool(config["readers"]), OWEN),
        (bool({"denoising", "inpainting", "superresolution"} & set(shown)), SSIM),
        ("denoising" in shown, NLM),
        (any(study["noise"]["kind"] == "rician" for study in entries("denoising")), RICIAN),
        ("inpainting" in shown, REPAINT),
        ("inpainting" in shown, BIHARMONIC),
        ("superresolution" in shown, SR3),
        ("superresolution" in shown, SRDIFF),
        ("superresolution" in shown, KEYS),
        ("anomaly" in shown, WOLLEB),
        ("anomaly" in shown, ANODDPM),
        ("anomaly" in shown, BAUR),
    ]
    found = [text for wanted, text in chosen if wanted]
    data = found[:1] if kind == "nih" else []
    return data + ALWAYS + found[len(data) :]
