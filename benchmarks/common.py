"""What the benchmarks share: where they ran, what a process takes, tables, and fixed feature spaces."""

import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
sys.path.insert(0, str(ROOT))  # the scripts stand beside the packages that they measure


def command() -> str:
    """Return the command line that ran, without the folders of this machine."""
    arguments = [
        f"…/{Path(part).name}" if Path(part).is_absolute() else part for part in sys.argv[1:]
    ]
    return " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *arguments])


def hardware(device: str) -> str:
    """Describe what `device` ("cpu" or "cuda") computes on, in words."""
    cpu = f"{cpu_name()}, {len(os.sched_getaffinity(0))} cores"
    able = torch.cpu.get_capabilities()
    formats = [
        label
        for key, label in (
            ("avx512_f", "AVX-512"),
            ("avx512_bf16", "AVX512-BF16"),
            ("amx_bf16", "AMX"),
        )
        if able.get(key)
    ]
    cpu += f" ({', '.join(formats)})" if formats else ""
    if device == "cpu":
        return cpu
    card = torch.cuda.get_device_properties(0)
    return f"{card.name}, {card.total_memory / 2**30:.0f} GiB; host: {cpu}"


def cpu_name() -> str:
    """Return what the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(x.split(":")[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def versions(*packages: str) -> str:
    """Name the versions of Python and of installed packages."""
    found = [f"{package} {version(package)}" for package in packages]
    return ", ".join([f"Python {platform.python_version()}", *found])


def process_memory(key: str) -> float:
    """Return a line of /proc/self/status in MB: VmRSS is memory held now, VmHWM its peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 1024
    raise KeyError(key)


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_report(path: Path, title: str, *paragraphs: str) -> None:
    """Print a Markdown page, and write it to `path`."""
    text = "\n\n".join([f"# {title}", *paragraphs]) + "\n"
    print(text)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


class FeatureSpace:
    """Fixed features, on the scale of real training images.

    Features are centred and divided by one number, so that over the training images they have mean
    0 and mean square 1: kernels then weigh a space's mean and spread alike, whatever its units.

    Parameters
    ----------
    features : uint8 (n, height, width) to (n, d)
    training : real training images, uint8 (n, height, width)
    """

    def __init__(self, features: Callable[[np.ndarray], np.ndarray], training: np.ndarray):
        self.features = features
        known = features(training).astype(np.float64)
        self.mean, self.scale = known.mean(axis=0), known.std(axis=0)
        self.scale = np.sqrt(np.square(self.scale).mean())

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return (self.features(images) - self.mean) / self.scale


def feature_spaces(training: np.ndarray, classifier: Path) -> dict[str, FeatureSpace]:
    """Return the fixed spaces of the benchmarks, by the name that tables give them.

    Parameters
    ----------
    training : real training images, uint8 (n, height, width)
    classifier : weights of the domain classifier, which was trained on them
    """
    from sklearn.decomposition import PCA

    from workflow_scripts.features.extractors import Domain

    components = PCA(min(64, len(training) - 1), svd_solver="covariance_eigh").fit(flat(training))
    domain = Domain(classifier, torch.device("cpu"))
    extractors = {
        "domain classifier": lambda images: np.concatenate(
            [domain(part)[0] for part in np.array_split(images, -(-len(images) // 256))]
        ),
        "HOG": oriented_gradients,
        "pixel PCA": lambda images: components.transform(flat(images)),
        # Nothing of a recipe was ever chosen by these two.
        "LBP": local_binary_patterns,
        "random convolutions": RandomConvolutions(),
    }
    return {name: FeatureSpace(extract, training) for name, extract in extractors.items()}


def flat(images: np.ndarray) -> np.ndarray:
    """Return images as rows of numbers in [-1, 1]: float64 (n, height * width)."""
    return images.reshape(len(images), -1) / 127.5 - 1


def oriented_gradients(images: np.ndarray) -> np.ndarray:
    """Return histograms of oriented gradients (Dalal & Triggs 2005): float64 (n, 288).

    Eight orientations in 4 x 4 cells, normalised over blocks of 2 x 2 cells.
    """
    from skimage.feature import hog

    cell = images.shape[1] // 4
    return np.stack([hog(image, 8, (cell, cell), (2, 2), block_norm="L2-Hys") for image in images])


def local_binary_patterns(images: np.ndarray) -> np.ndarray:
    """Return histograms of uniform local binary patterns (Ojala et al. 2002): float64 (n, 160).

    Eight neighbours at radius 1, ten patterns, in 4 x 4 cells.
    """
    from skimage.feature import local_binary_pattern

    def histograms(image: np.ndarray) -> np.ndarray:
        codes = local_binary_pattern(image, 8, 1, "uniform").astype(np.int64)
        cells = [
            part for row in np.array_split(codes, 4) for part in np.array_split(row, 4, axis=1)
        ]
        return np.concatenate([np.bincount(cell.ravel(), minlength=10) for cell in cells])

    return np.stack([histograms(image) for image in images]).astype(np.float64)


class RandomConvolutions:
    """What an untrained convolutional network sees: uint8 (n, height, width) to float64 (n, 256)."""

    def __init__(self) -> None:
        from workflow_scripts.classifier.network import build

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            # In training mode its normalisation would depend on what else is in a batch.
            self.network = build("small", 2).eval()

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> np.ndarray:
        parts = np.array_split(images, -(-len(images) // 256))
        batches = [
            torch.from_numpy(flat(part)).float().reshape(-1, 1, *part.shape[1:]) for part in parts
        ]
        return torch.cat([self.network.features(batch) for batch in batches]).double().numpy()
