"""Rows of RESTORATION: how near a method's answers are to the clean patches."""

from collections.abc import Iterator

import numpy as np

from workflow_scripts.denoising.judged import Judged
from workflow_scripts.denoising.noisy import condition
from workflow_scripts.denoising.restored import Restored
from workflow_scripts.metrics.restoration import judge


def rows_of(
    method: str, restored: Restored, patches: Judged, noise: dict, score: dict
) -> Iterator[dict]:
    """Yield a row per noise level and patch of the first answer, and of the mean of all if there are several.

    What is beyond [0, 1] is clipped, of every method alike: no image is there.

    Parameters
    ----------
    noise : configuration section `noise` of a denoising study
    score : configuration section `score`
    """
    if restored.names != patches.names:
        raise ValueError(f"{method} has restored other patches than those that are judged")
    for samples in sorted({1, restored.samples}):
        images = restored.mean(samples).clip(0, 1)
        for level, variance in enumerate(restored.variances):
            for number, row in enumerate(patches.table.itertuples()):
                clean = patches.clean[number]
                yield {
                    "image_id": row.image_id,
                    "patient_id": row.patient_id,
                    "condition": condition(noise, variance),
                    "method": method,
                    "samples": samples,
                    **judge(
                        clean, images[level, number], score["data_range"], mask_of(clean, score)
                    ),
                }


def mask_of(clean: np.ndarray, score: dict) -> np.ndarray | None:
    """Return the pixels of a clean patch that are judged, bool (h, w); None: all.

    Those brighter than `mask_above`, if that is given; where none is, all.
    """
    if score["mask_above"] is None:
        return None
    mask = clean > score["mask_above"]
    mask = mask.any(axis=2) if mask.ndim == 3 else mask
    return mask if mask.any() else None
