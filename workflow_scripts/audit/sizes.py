"""How many images each measure can have compared, from the tables of images alone.

A measure says its N. Whatever it is, the splits and the sampler decide it: here it is counted again,
by nothing but what a person would read in results/README.md.
"""

from typing import NamedTuple

import pandas as pd

from workflow_scripts.audit.evidence import single_finding
from workflow_scripts.common.schemas import POOLED

# Between sets of equally many images of each class, of real ones one of each patient.
DISTANCES = {
    "kernel_distance",
    "gaussian_kernel_distance",
    "frechet_distance",
    "frechet_distance_infinity",
    "precision",
    "recall",
    "density",
    "coverage",
    "class_score",
}
PHYSICS = {"intensity_distance", "spectrum_distance", "sharpness_ratio"}
ANATOMY = {"cardiothoracic_ratio_distance", "effusion_height_distance"}
PAIRS = {"msssim_diversity", "lpips_diversity"}
SPLITS = ("train", "val", "test")


class Size(NamedTuple):
    """`n` and `n_reference` of a measure; `most`: pairs may be drawn fewer."""

    n: int
    reference: int
    most: bool = False

    def allows(self, n: int, reference: int) -> bool:
        if self.most:
            return 0 < n == reference <= self.n
        return (n, reference) == (self.n, self.reference)


class Sizes:
    """What the sets hold, by class.

    Parameters
    ----------
    images, samples : IMAGES and SAMPLES
    classes : names of the classes
    """

    def __init__(self, images: pd.DataFrame, samples: pd.DataFrame, classes: list[str]) -> None:
        self.classes = classes
        self.samples = len(samples)
        drawn = samples["class_name"].value_counts()
        self.drawn = {name: int(drawn.get(name, 0)) for name in classes}
        own = images[single_finding(images)]
        self.real = {
            split: {name: self.of(own, split, name) for name in classes} for split in SPLITS
        }
        self.people = {
            split: {name: part.nunique() for name, part in parts.items()}
            for split, parts in self.real.items()
        }
        # What the poorest set has, of real ones one image of each patient.
        self.equal = {
            name: min(self.drawn[name], *(self.people[split][name] for split in SPLITS))
            for name in classes
        }

    @staticmethod
    def of(images: pd.DataFrame, split: str, name: str) -> pd.Series:
        """Return the patients of a split's images of a class, one for each image."""
        return images.loc[(images["split"] == split) & (images["class_name"] == name), "patient_id"]

    def images(self, split: str, name: str) -> int:
        """Return how many images of a class a split has."""
        return len(self.real[split][name])

    def others(self, name: str) -> int:
        """Return how many validation images other classes have."""
        return sum(self.images("val", other) for other in self.classes if other != name)

    def expected(self, metric: str, label: str, listed: list[str], pairs: int) -> Size | None:
        """Return the N of a measure; None of one that this module does not know.

        Parameters
        ----------
        label : a class, or POOLED
        listed : classes that the measure has rows of
        pairs : of images of a class that diversity was to take
        """
        if label != POOLED:
            return self.of_class(metric, label, pairs)
        if metric == "class_auroc":
            return self.of_class(metric, label, pairs)
        if metric in DISTANCES:
            parts = [name for name in self.classes if self.equal[name] > 1]
        elif metric in PHYSICS | PAIRS:
            parts = [name for name in self.classes if self.equal[name]]
        elif metric in ANATOMY:
            parts = [name for name in self.classes if self.equal[name] and self.others(name)]
        else:
            parts = listed
        sizes = [self.of_class(metric, name, pairs) for name in parts]
        if None in sizes:
            return None
        n, reference = (sum(size[side] for size in sizes) for side in (0, 1))
        if metric == "classification_accuracy_score":
            n = self.samples
        return Size(n, reference, metric in PAIRS)

    def of_class(self, metric: str, label: str, pairs: int) -> Size | None:
        """Return the N of a measure of one class."""
        if metric in DISTANCES | PHYSICS | ANATOMY:
            return Size(self.equal[label], self.equal[label])
        if metric in PAIRS:
            most = min(pairs, self.pairs(label))
            return Size(most, most, most=True)
        if metric == "class_auroc":
            validation = sum(self.images("val", name) for name in self.classes)
            return Size(sum(self.drawn.values()), validation)
        if metric == "class_accuracy":
            return Size(self.drawn[label], self.images("val", label))
        if metric == "classification_accuracy_score":
            return Size(self.samples, self.images("test", label))
        if metric == "memorised_fraction":
            return Size(self.drawn[label], self.people["val"][label])
        if metric == "closer_to_train":
            held_out = self.images("val", label) + self.images("test", label)
            return Size(self.drawn[label], min(self.images("train", label), held_out))
        return None

    def pairs(self, label: str) -> int:
        """Return how many pairs of images of different patients the poorest set has."""
        possible = [self.drawn[label] * (self.drawn[label] - 1) // 2]
        for split in SPLITS:
            total = self.images(split, label)
            each = self.real[split][label].value_counts()
            possible.append(total * (total - 1) // 2 - int((each * (each - 1) // 2).sum()))
        return min(possible)
