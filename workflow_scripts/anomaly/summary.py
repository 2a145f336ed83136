"""What the scores of images say: how well each finding is told from health, and where it is."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workflow_scripts.common.schemas import ANOMALY_SUMMARY, MACRO
from workflow_scripts.common.seeds import generator
from workflow_scripts.common.tables import table_of
from workflow_scripts.metrics.clusters import interval, resamples
from workflow_scripts.metrics.ranking import Ranking

LOCAL = ("pixel_auroc", "average_precision", "dice", "hit")
REFERENCE = "autoencoder"
Key = tuple[str, str]  # measure and class name
Values = dict[Key, np.ndarray]
Version = tuple[str, float]  # method and level


@dataclass(frozen=True)
class Basis:
    """What a measure of a class rests on: which images, which of them show the finding, and chance."""

    images: np.ndarray  # bool
    positive: np.ndarray  # bool
    chance: float


def summarise(
    scores: pd.DataFrame, classes: list[str], healthy: str, bootstrap: int, seed: int
) -> pd.DataFrame:
    """Return ANOMALY_SUMMARY of ANOMALY_SCORES.

    Values are of test images. Of each kind of noise the level is chosen whose AUROC, the mean of
    findings, is highest among validation images; the least such. Intervals are percentiles of a
    bootstrap over patients, in which all methods and levels meet the same resamples. Measures of
    where a finding is are means over the images whose region is known.

    Parameters
    ----------
    classes : names of the classes
    healthy : the one that counts as healthy
    bootstrap : resamples of the test patients
    """
    findings = [name for name in classes if name != healthy]
    val, test = (Split(scores, split, findings, healthy) for split in ("val", "test"))
    once = {split: np.ones((split.count, 1), np.float32) for split in (val, test)}
    validation = {v: val.values(v, once[val]) for v in val.versions}
    point = {v: test.values(v, once[test]) for v in test.versions}
    blocks = list(resamples(test.patients, bootstrap, generator(seed, "patients")))
    drawn = {v: joined([test.values(v, weights) for weights in blocks]) for v in test.versions}
    chosen = choose(validation)
    reference = next((v for v in test.versions if v[0] == REFERENCE), None)
    rows = []
    for version in test.versions:
        for key, (value,) in point[version].items():
            basis, low_high = test.basis[key], interval(drawn[version][key])
            row = {
                "measure": key[0],
                "class_name": key[1],
                "method": version[0],
                "level": version[1],
                "chosen": version in chosen,
                "n_images": int(basis.images.sum()),
                "n_patients": len(np.unique(test.patients[basis.images])),
                "positives": int(basis.positive.sum()),
                "positive_patients": len(np.unique(test.patients[basis.positive])),
                "healthy_patients": len(np.unique(test.patients[basis.images & ~basis.positive])),
                "value": value,
                "low": low_high[0],
                "high": low_high[1],
                "chance": basis.chance,
                "validation": validation[version].get(key, [np.nan])[0],
            }
            if version != reference and key in point[reference]:
                apart = drawn[version][key] - drawn[reference][key]
                ends = interval(apart)
                row |= {
                    "difference": value - point[reference][key][0],
                    "difference_low": ends[0],
                    "difference_high": ends[1],
                }
            rows.append(row)
    return table_of(rows, ANOMALY_SUMMARY)


class Split:
    """The images of one split, what is known of each, and what each version says of it."""

    def __init__(self, scores: pd.DataFrame, split: str, findings: list[str], healthy: str):
        own = scores[scores["split"] == split]
        self.tables = {
            version: table.set_index("image_id")
            for version, table in own.groupby(["method", "level"], sort=False)
        }
        self.versions: list[Version] = list(self.tables)
        first = next(iter(self.tables.values()))
        self.tables = {version: table.loc[first.index] for version, table in self.tables.items()}
        self.count, self.patients = len(first), first["patient_id"].to_numpy()
        names = first["class_name"].to_numpy()
        self.findings = {name: names == name for name in findings}
        self.healthy = names == healthy
        self.basis = dict(self.bases(first))
        self.rankings = {
            (version, name): Ranking(table["score"].to_numpy(), basis.positive, basis.images)
            for version, table in self.tables.items()
            for (measure, name), basis in self.basis.items()
            if measure == "auroc" and name != MACRO
        }

    def bases(self, table: pd.DataFrame) -> Iterator[tuple[Key, Basis]]:
        """Yield what each measure rests on; what rests on nothing is left out."""
        ill = [one for one in self.findings.values() if one.any()]
        for name, positive in self.findings.items():
            if positive.any() and self.healthy.any():
                yield ("auroc", name), Basis(positive | self.healthy, positive, 0.5)
        if ill and self.healthy.any():
            everybody = np.logical_or.reduce(ill)
            yield ("auroc", MACRO), Basis(everybody | self.healthy, everybody, 0.5)
        region = table["region"].to_numpy()
        for measure in LOCAL:
            means, parts = [], []
            for name, positive in self.findings.items():
                shown = positive & ~np.isnan(table[measure].to_numpy())
                if shown.any():
                    by_chance = CHANCE[measure](region[shown]).mean()
                    means.append(by_chance)
                    parts.append(shown)
                    yield (measure, name), Basis(shown, shown, float(by_chance))
            if parts:
                whole = np.logical_or.reduce(parts)
                yield (measure, MACRO), Basis(whole, whole, float(np.mean(means)))

    def values(self, version: Version, weights: np.ndarray) -> Values:
        """Return every measure of a version under each weighting of the images.

        Parameters
        ----------
        weights : (images, b), how often each image counts

        Returns
        -------
        float64 (b,) by measure and class; NaN where a weighting leaves nothing to rest on
        """
        table = self.tables[version]
        found: Values = {}
        for measure, name in self.basis:
            if name == MACRO:
                parts = [found[measure, one] for one in self.findings if (measure, one) in found]
                found[measure, MACRO] = np.mean(parts, axis=0)
                continue
            if measure == "auroc":
                found[measure, name] = self.rankings[version, name].auroc(weights)
            else:
                positive = self.basis[measure, name].positive
                found[measure, name] = mean(table[measure].to_numpy(), positive, weights)
        return found


# What a map says that knows nothing: pixels at random, or (Dice) every pixel.
CHANCE = {
    "pixel_auroc": lambda region: np.full(len(region), 0.5),
    "average_precision": lambda region: region,
    "hit": lambda region: region,
    "dice": lambda region: 2 * region / (1 + region),
}


def mean(values: np.ndarray, which: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted mean of some values: float64 (b,), NaN where nothing weighs."""
    own = weights[which].astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return values[which] @ own / own.sum(axis=0)


def choose(validation: dict[Version, Values]) -> set[Version]:
    """Return of each method the version with the highest mean AUROC, and of those the least level."""
    best: dict[str, Version] = {}
    for version in sorted(validation):
        value = validation[version]["auroc", MACRO][0]
        known = best.get(version[0])
        if known is None or value > validation[known]["auroc", MACRO][0]:
            best[version[0]] = version
    return set(best.values())


def joined(parts: list[Values]) -> Values:
    """Return values of several blocks of weightings behind one another."""
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
