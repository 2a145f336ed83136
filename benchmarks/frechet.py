"""Measure the Fréchet distance: seconds and agreement, beside clean-fid and torchmetrics.

    .venv/bin/python benchmarks/frechet.py
    .venv/bin/python benchmarks/frechet.py --images 400 --features 64 --output …/frechet.md

Features of two sets are made up: correlated, skewed and with a falling spectrum, as a network's
are. The contenders take turns; the machine should do nothing else. Agreement is with the formula
in float64 by symmetric eigendecomposition, which takes no root of an unsymmetric matrix.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from cleanfid.fid import fid_from_feats
from common import RESULTS, command, hardware, table, versions, write_report
from torchmetrics.image.fid import _compute_fid

from workflow_scripts.metrics.frechet import frechet_distance


def made_up(images: int, features: int, seed: int) -> np.ndarray:
    """Return float32 (images, features), one of two distributions that are near each other."""
    mixing = np.random.default_rng(99).normal(size=(features, features)) / np.sqrt(features)
    mixing *= np.arange(1, features + 1)[:, None] ** -0.5
    rng = np.random.default_rng(seed)
    x = rng.normal(0.1 * seed, 1, (images, features)) @ mixing
    return np.maximum(x, 0.2 * x).astype(np.float32)


def by_torchmetrics(x: np.ndarray, y: np.ndarray) -> float:
    """Return what torchmetrics' metric computes once it has both sets' features, in float64."""
    moments = []
    for side in (torch.from_numpy(x).double(), torch.from_numpy(y).double()):
        # As sums and a Gram matrix: so it gathers them, batch by batch.
        n, total = len(side), side.sum(dim=0)
        mean = total / n
        moments += [mean, (side.T @ side - n * torch.outer(mean, mean)) / (n - 1)]
    return float(_compute_fid(*moments))


def reference(x: np.ndarray, y: np.ndarray) -> float:
    """Return the distance with tr (Σ₁Σ₂)^½ as tr (Σ₁^½ Σ₂ Σ₁^½)^½, by eigendecompositions."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    first, second = (np.cov(side, rowvar=False) for side in (x, y))
    values, vectors = np.linalg.eigh(first)
    half = vectors * np.sqrt(values.clip(0)) @ vectors.T
    root = np.sqrt(np.linalg.eigvalsh(half @ second @ half).clip(0)).sum()
    shift = x.mean(axis=0) - y.mean(axis=0)
    return float(shift @ shift + np.trace(first) + np.trace(second) - 2 * root)


CONTENDERS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "**Synthorax**": frechet_distance,
    "clean-fid, `fid_from_feats`": fid_from_feats,
    "torchmetrics, `FrechetInceptionDistance`": by_torchmetrics,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=10_000, help="in each of both sets")
    parser.add_argument("--features", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--output", type=Path, default=RESULTS / "frechet.md")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)

    x, y = (made_up(given.images, given.features, seed) for seed in (0, 1))
    exact = reference(x, y)
    seconds, values = {name: [] for name in CONTENDERS}, {}
    for _ in range(given.repeats):
        for name, distance in CONTENDERS.items():
            start = time.perf_counter()
            values[name] = distance(x, y)
            seconds[name].append(time.perf_counter() - start)

    rows = [
        [
            name,
            f"{np.median(taken):.2f}",
            f"{min(taken):.2f} to {max(taken):.2f}",
            f"{abs(values[name] / exact - 1):.0e}",
        ]
        for name, taken in seconds.items()
    ]
    write_report(
        given.output,
        f"Fréchet distance of {given.images:,} and {given.images:,} images, "
        f"{given.features:,} features",
        f"`{command()}`: median and range of {given.repeats} repeats in turns, from features in "
        f"float32 to the distance ({exact:.6g}). {hardware('cpu')}. "
        f"{versions('numpy', 'scipy', 'torch', 'torchmetrics', 'clean-fid')}.",
        table(["way", "seconds", "range", "relative difference from eigendecomposition"], rows),
    )


if __name__ == "__main__":
    main()
