"""How far synthetic images are from held-out real ones, with intervals by resampling.

Every measure is taken once on the images as they are, and once on each of a number of bootstrap
resamples: of patients among the real images, of images among the synthetic ones, within each class.
The real resamples are the same for all sets that one judge measures, and so are those of synthetic
images, which two models draw from the same seeds: sets are compared resample by resample. Only the
spread of the resamples is used, not their mean: drawing images twice biases distances upwards.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from common import FeatureSpace
from scipy.stats import wasserstein_distance

from workflow_scripts.classifier.weights import load
from workflow_scripts.common.pixels import to_input
from workflow_scripts.common.schemas import IMAGES
from workflow_scripts.common.seeds import generator
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table
from workflow_scripts.metrics.estimates import Estimate
from workflow_scripts.metrics.frechet import frechet_distance
from workflow_scripts.metrics.kernels import polynomial_kernel

CONSISTENCY, GREY = "class consistency", "mean grey, Wasserstein-1"
HIGHER_IS_BETTER = {CONSISTENCY}


@dataclass
class Films:
    """Images uint8 (n, height, width), the class of each, and whose it is."""

    images: np.ndarray
    classes: np.ndarray
    owners: np.ndarray

    def first(self, per_class: int) -> "Films":
        """Return the first images of each class."""
        labels = np.unique(self.classes)
        rows = np.concatenate([np.flatnonzero(self.classes == k)[:per_class] for k in labels])
        return Films(self.images[rows], self.classes[rows], self.owners[rows])

    def counts(self, resamples: int, seed: int) -> np.ndarray:
        """Return how often each image is in each resample of owners within classes: (resamples, n)."""
        counts = np.zeros((resamples, len(self.images)))
        for label in np.unique(self.classes):
            members = np.flatnonzero(self.classes == label)
            owners, owner = np.unique(self.owners[members], return_inverse=True)
            random = generator(seed, "resamples", int(label))
            equal = np.full(len(owners), 1 / len(owners))
            counts[:, members] = random.multinomial(len(owners), equal, resamples)[:, owner]
        return counts


class RealImages:
    """The real images of a finished run.

    Parameters
    ----------
    folder : of the tensors
    classes : names, in the order of their numbers
    """

    def __init__(self, folder: Path, classes: list[str]):
        self.table = read_table(folder / "images.parquet", IMAGES)
        shards = [folder / f"{name}.npy" for name in self.table["shard"].unique()]
        self.store, self.classes = ImageStore(self.table, shards), classes

    def films(self, split: str, per_class: int | None = None) -> Films:
        """Return the first images of each class of a split; None: all."""
        names = self.table["class_name"].where(self.table["split"] == split)
        rows = [np.flatnonzero(names == label)[:per_class] for label in self.classes]
        numbers = np.repeat(np.arange(len(rows)), [len(members) for members in rows])
        rows = np.concatenate(rows)
        owners = self.table["patient_id"].to_numpy()[rows]
        return Films(self.store.gather(rows), numbers, owners)

    def fewest(self, *splits: str) -> int:
        """Return how many images the poorest class has in the poorest of some splits."""
        counts = self.table.groupby(["split", "class_name"]).size()
        return min(int(counts[split, label]) for split in splits for label in self.classes)


@dataclass
class Measured:
    """The value of a measure, and its values in resamples, (resamples,)."""

    value: float
    resampled: np.ndarray

    @property
    def interval(self) -> Estimate:
        return Estimate.normal(self.value, self.resampled.var(ddof=1))

    def minus(self, other: "Measured") -> Estimate:
        """Return by how much this is above another measured on the same real resamples."""
        spread = (self.resampled - other.resampled).var(ddof=1)
        return Estimate.normal(self.value - other.value, spread)


class Judge:
    """Measures sets of images against one set of real ones.

    Parameters
    ----------
    real : held-out images
    spaces : where distances are taken
    classifier : weights of the domain classifier, which says what it sees in an image
    resamples : of the bootstrap
    """

    def __init__(
        self,
        real: Films,
        spaces: dict[str, FeatureSpace],
        classifier: Path,
        resamples: int,
        seed: int,
    ):
        self.real, self.spaces, self.seed = real, spaces, seed
        self.classifier = load(classifier, torch.device("cpu"))
        self.features = {name: space(real.images) for name, space in spaces.items()}
        self.counts = np.vstack([np.ones(len(real.images)), real.counts(resamples, seed)])

    def measure(self, films: Films) -> dict[str, Measured]:
        """Return every measure of a set, by name."""
        resamples = len(self.counts) - 1
        counts = np.vstack([np.ones(len(films.images)), films.counts(resamples, self.seed + 1)])
        values = {}
        for name, space in self.spaces.items():
            x, y = space(films.images), self.features[name]
            values[f"Fréchet, {name}"] = np.array(
                [
                    frechet_distance(np.repeat(x, w.astype(int), 0), np.repeat(y, v.astype(int), 0))
                    for w, v in zip(counts, self.counts, strict=True)
                ]
            )
            values[f"kernel, {name}"] = kernel_distances(x, y, counts, self.counts)
        values[CONSISTENCY] = self.consistency(films, resamples)
        grey, real_grey = (part.images.mean(axis=(1, 2)) for part in (films, self.real))
        values[GREY] = np.array(
            [
                wasserstein_distance(grey, real_grey, w, v)
                for w, v in zip(counts, self.counts, strict=True)
            ]
        )
        return {name: Measured(float(v[0]), v[1:]) for name, v in values.items()}

    def consistency(self, films: Films, resamples: int) -> np.ndarray:
        """Return the share of images seen as their class, and draws of it: (1 + resamples,).

        Drawn from binomials with Jeffreys' half added on either side: where all are right or all
        are wrong, resampled images would feign certainty.
        """
        right = np.bincount(films.classes, self.seen(films.images) == films.classes)
        total = np.bincount(films.classes)
        # Of its own for each set, or equal shares would be drawn alike.
        random = generator(self.seed, "consistency", zlib.crc32(films.images.tobytes()))
        drawn = random.binomial(total, (right + 0.5) / (total + 1), (resamples, len(total)))
        return np.append(right.sum(), drawn.sum(axis=1)) / total.sum()

    @torch.inference_mode()
    def seen(self, images: np.ndarray) -> np.ndarray:
        """Return the class that the domain classifier sees in every image: int64 (n,)."""
        parts = np.array_split(images, -(-len(images) // 256))
        device = torch.device("cpu")
        return np.concatenate(
            [self.classifier(to_input(part, device)).argmax(dim=1).numpy() for part in parts]
        )


def kernel_distances(x: np.ndarray, y: np.ndarray, v: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return the cubic kernel's distance (Bińkowski et al. 2018) for each pair of rows of weights.

    Pairs of an image with itself are left out, also where a resample holds it twice. Classes count
    as in the sets, which hold as many of each.

    Parameters
    ----------
    x, y : features (n, d) and (m, d)
    v, w : how often each image counts, (resamples, n) and (resamples, m)
    """

    def within(kernel: np.ndarray, weights: np.ndarray) -> np.ndarray:
        kernel = kernel - np.diag(np.diag(kernel))
        pairs = weights.sum(axis=1) ** 2 - np.square(weights).sum(axis=1)
        return np.einsum("bi,bi->b", weights @ kernel, weights) / pairs

    across = np.einsum("bj,bj->b", v @ polynomial_kernel(x, y), w)
    across /= v.sum(axis=1) * w.sum(axis=1)
    inner = within(polynomial_kernel(x, x), v) + within(polynomial_kernel(y, y), w)
    return inner - 2 * across
