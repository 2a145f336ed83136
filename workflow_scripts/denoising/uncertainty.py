"""Whether the answers that a method draws are as uncertain as the truth is, in numbers."""

import numpy as np
import pandas as pd

from workflow_scripts.denoising.judged import Judged
from workflow_scripts.denoising.noisy import condition
from workflow_scripts.denoising.restored import Restored
from workflow_scripts.denoising.rows import mask_of
from workflow_scripts.metrics.clusters import cluster_means, cluster_ratios
from workflow_scripts.metrics.ensembles import by_spread, coverage, rank_shares, squares
from workflow_scripts.metrics.estimates import Estimate

FEWEST_IN_HALVES = 4  # answers, of which one half bins and the other is binned


def uncertainty(
    method: str,
    restored: Restored,
    patches: Judged,
    noise: dict,
    score: dict,
    count: int,
    seed: int,
) -> tuple[list[dict], list[dict]]:
    """Return rows of UNCERTAINTY and of SPREAD of a method with two answers or more.

    Parameters
    ----------
    noise, score : configuration sections of a denoising study
    count : resamples of the patients, for the intervals
    seed : decides these
    """
    table, spread = [], []
    masks = [mask_of(clean, score) for clean in patches.clean]
    patients = patches.table["patient_id"].to_numpy()
    for level, variance in enumerate(restored.variances):
        answers = list(restored.images[level])
        about = {"condition": condition(noise, variance), "method": method}
        triples = list(zip(patches.clean, answers, masks, strict=True))
        shares = np.stack([rank_shares(*triple) for triple in triples])
        expected, found = coverage(shares)
        rows = [
            ("coverage", nominal, estimate)
            for nominal, estimate in zip(
                expected, cluster_means(found, patients, count, seed), strict=True
            )
        ]
        error, due = np.array([[part.sum() for part in squares(*triple)] for triple in triples]).T[
            :, :, None
        ]
        (ratio,) = cluster_ratios(error, due, patients, count, seed)
        root = Estimate(*np.sqrt([ratio.value, ratio.low, ratio.high]).tolist())
        rows.append(("error_over_spread", 1.0, root))
        table += [
            about
            | {
                "samples": restored.samples,
                "measure": measure,
                "expected": nominal,
                "n_images": len(patches.table),
                "n_patients": len(np.unique(patients)),
                "value": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
                "verdict": verdict(measure, nominal, estimate),
            }
            for measure, nominal, estimate in rows
        ]
        if restored.samples >= FEWEST_IN_HALVES:
            spread += [about | row for row in by_spread(patches.clean, answers, masks)]
    return table, spread


def verdict(measure: str, expected: float, found: Estimate) -> str:
    """Say whether answers scatter as they should, as far as the interval tells.

    Answers that scatter too little hold the truth too seldom, and err by more than they scatter.
    """
    if pd.isna(found.low):
        return "unknown"
    if found.low <= expected <= found.high:
        return "calibrated"
    return "too narrow" if (found.high < expected) == (measure == "coverage") else "too wide"
