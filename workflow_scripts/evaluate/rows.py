"""Rows of the metrics table: each number beside its interval, its floor, its ceiling and its N."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.files import sha256_of
from workflow_scripts.common.published import name_of
from workflow_scripts.common.schemas import METRICS, POOLED
from workflow_scripts.common.store import ImageStore, open_array
from workflow_scripts.common.tables import table_of
from workflow_scripts.evaluate.sets import SPLIT_OF
from workflow_scripts.metrics.estimates import Estimate

JACKKNIFE, GROUPED = "jackknife 95 %", "grouped jackknife 95 %"
EXACT, CLUSTERED, NONE = "Clopper–Pearson 95 %", "Korn–Graubard 95 %", "none"
SETS = ("synthetic", *SPLIT_OF)


@dataclass(frozen=True)
class FeatureSpace:
    """One extractor's files: its weights, and what it gives of each set of images.

    Features are float32 (n, d); class probabilities (`_classes`) float32 (n, K), with K = 0 where
    the extractor names no classes. `noise` are the noise controls.
    """

    name: str
    weights: Path | None
    real: Path
    samples: Path
    noise: Path | None = None
    real_classes: Path | None = None
    sample_classes: Path | None = None
    noise_classes: Path | None = None

    @property
    def sha256(self) -> str | None:
        """SHA-256 of the weights, None where there are none."""
        return None if self.weights is None else sha256_of(self.weights)


@dataclass(frozen=True)
class Pictures:
    """Real and synthetic images: their tables, whose they are, and, where needed, their pixels."""

    images: pd.DataFrame
    samples: pd.DataFrame
    real: ImageStore | None = None
    synthetic: ImageStore | None = None

    def gather(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Return pixels of one of SETS, as their store gives them."""
        return (self.synthetic if name == "synthetic" else self.real).gather(rows)

    def owners(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Return whose each image is: its patient's, or for a synthetic image its own."""
        if name == "synthetic":
            return self.samples["image_id"].to_numpy()[rows]
        return self.images["patient_id"].to_numpy()[rows]


def row(
    metric: str,
    extractor: str,
    weights_sha256: str | None,
    class_name: str,
    n: int,
    n_reference: int,
    estimates: dict[str, Estimate],
    interval: str,
    ceiling_of: str,
    chance: tuple[float, float] | None = None,
) -> dict:
    """Return one row of METRICS but for its seed; an interval that could not be had is none.

    Parameters
    ----------
    n, n_reference : images measured, and those that they are compared with
    estimates : the same measure of the sets `synthetic`, `floor`, `train` (may be absent) and
        `ceiling`
    interval : how the interval of `synthetic` was made
    ceiling_of : what failed altogether to give the ceiling, as METRICS names it
    chance : what the search for copies finds on average, and at most, where nothing is copied
    """
    expected, expected_high = chance or (np.nan, np.nan)
    synthetic = estimates["synthetic"]
    known = bool(np.isfinite([synthetic.low, synthetic.high]).all())
    return {
        "metric": metric,
        "name": name_of(metric, extractor, weights_sha256),
        "extractor": extractor,
        "weights_sha256": weights_sha256,
        "class_name": class_name,
        "n": n,
        "n_reference": n_reference,
        "value": synthetic.value,
        "low": synthetic.low if known else np.nan,
        "high": synthetic.high if known else np.nan,
        "interval": interval if known else NONE,
        "floor": estimates["floor"].value,
        "train": estimates.get("train", Estimate(np.nan)).value,
        "ceiling": estimates["ceiling"].value,
        "ceiling_of": ceiling_of,
        "expected": expected,
        "expected_high": expected_high,
    }


def metrics_table(rows: Iterable[dict], seed: int) -> pd.DataFrame:
    """Return rows as METRICS, which there may be none of; numbers to nine significant digits.

    The digits beyond depend on where in memory an array happened to begin, which decides in what
    order sums are taken: the same images must give the same bytes.
    """
    table = table_of((row | {"seed": seed} for row in rows), METRICS)
    for name in table.select_dtypes("float64"):
        table[name] = np.array([float(f"{value:.9g}") for value in table[name]], dtype=np.float64)
    return table


def of_class(by_class: dict[str, np.ndarray], label: str) -> np.ndarray:
    """Return what stands under one class, or, pooled, under all of them."""
    return np.concatenate(list(by_class.values())) if label == POOLED else by_class[label]


def arrays_of_sets(real: Path, samples: Path, pictures: Pictures) -> dict[str, np.ndarray]:
    """Return what belongs to the table that each of SETS is drawn from, memory-mapped.

    Parameters
    ----------
    real, samples : arrays with one row per real and per synthetic image
    """
    of_real = rows_for(real, len(pictures.images))
    of_samples = rows_for(samples, len(pictures.samples))
    return {name: of_samples if name == "synthetic" else of_real for name in SETS}


def rows_for(path: Path, count: int) -> np.ndarray:
    """Open an array that has one row for each of `count` images."""
    array = open_array(path)
    if len(array) != count:
        raise ValueError(f"{path}: {len(array)} rows for {count} images")
    return array
