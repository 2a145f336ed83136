"""How long a study's statistics take: measures, subgroups, DeLong and the bootstrap by patient.

    python benchmarks/bootstrap.py

Scores are drawn at random: the time depends on their number alone.
"""

import argparse
import time

import numpy as np
import pandas as pd
from common import RESULTS, command, hardware, process_memory, table, versions, write_report

from workflow_scripts.study.summarise_study import summarise

CLASSES = ["No Finding", "Atelectasis", "Effusion", "Nodule", "Pneumothorax", "Consolidation"]
SHARES = [0.55, 0.13, 0.12, 0.08, 0.07, 0.05]


def test_images(count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return test images with what `summarise` asks of them, two per patient on average."""
    class_ids = rng.choice(len(CLASSES), count, p=SHARES)
    return pd.DataFrame(
        {
            "image_id": [f"{number:06d}" for number in range(count)],
            "patient_id": rng.integers(count // 2, size=count).astype(str),
            "class_id": class_ids,
            "class_name": np.array(CLASSES)[class_ids],
            "sex": rng.choice(["F", "M"], count),
            "view": rng.choice(["PA", "AP"], count),
        }
    )


def timed(test: pd.DataFrame, arms: int, seeds: int, resamples: int) -> tuple[float, float]:
    """Return seconds and processor seconds of one study."""
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(arms, seeds, len(test), len(CLASSES)))
    scores[..., np.arange(len(test)), test["class_id"]] += 1
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    names = [f"arm {number}" for number in range(arms)]
    primary = {"arm": names[1], "metric": "auroc"}
    wall, processor = time.perf_counter(), time.process_time()
    summarise(test, probabilities, names, names[0], primary, resamples, CLASSES)
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=7200)
    parser.add_argument("--resamples", type=int, default=2000)
    given = parser.parse_args()
    test = test_images(given.images, np.random.default_rng(0))
    rows = []
    for arms, seeds in ((3, 3), (10, 5)):
        wall, processor = timed(test, arms, seeds, given.resamples)
        rows.append([f"{arms}", f"{seeds}", f"{wall:.1f} s", f"{processor:.1f} s"])
    write_report(
        RESULTS / "bootstrap.md",
        "Statistics of a study",
        f"{given.resamples:,} resamples of the patients of {given.images:,} test images, "
        f"{len(CLASSES)} classes, every measure of `summary.parquet` and `subgroups.parquet` "
        f"(`{command()}`).",
        table(["arms", "seeds", "time", "processor time"], rows),
        f"Peak memory {process_memory('VmHWM'):,.0f} MB. On {hardware('cpu')}; "
        f"{versions('numpy', 'scipy', 'pandas')}.",
    )


if __name__ == "__main__":
    main()
