"""Restored images against true ones, image by image, as rows of RESTORATION."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.levels import DEPTHS, bits_of, perceived
from workflow_scripts.metrics.restoration import judge


def restoration_rows(
    images: pd.DataFrame,
    truth: np.ndarray,
    restored: Mapping[tuple[str, int], np.ndarray],
    masks: np.ndarray | None = None,
    lpips: Mapping[str, Path] | None = None,
) -> pd.DataFrame:
    """Return a table RESTORATION.

    Parameters
    ----------
    images : `image_id`, `patient_id` and `condition` of each image
    truth : stored images, uint8 or uint16, (n, h, w) or (n, h, w, channels)
    restored : the same of every method and number of samples
    masks : bool (n, h, w), where to measure; None: everywhere. LPIPS is always of whole images
    lpips : weights by LPIPS backbone, one at most; without any it is not measured
    """
    data_range = DEPTHS[bits_of(truth.dtype)][1]
    distances = perceptual(lpips or {})
    parts = []
    for (method, samples), answers in restored.items():
        where = [None] * len(truth) if masks is None else masks
        found = [
            judge(true, answer, data_range, mask)
            for true, answer, mask in zip(truth, answers, where, strict=True)
        ]
        part = images[["image_id", "patient_id", "condition"]].reset_index(drop=True)
        part = part.assign(method=method, samples=samples, **pd.DataFrame(found))
        for distance in distances:
            part["lpips"] = distance(perceived(truth), perceived(answers))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def perceptual(lpips: Mapping[str, Path]) -> list[Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """Return the LPIPS of each backbone, by pairs of images."""
    if not lpips:
        return []
    # Only where it is wanted: torchmetrics takes seconds to load.
    from workflow_scripts.metrics.diversity import lpips_distances, lpips_network

    return [partial(lpips_distances, lpips_network(*backbone)) for backbone in lpips.items()]
