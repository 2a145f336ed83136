"""The patches that are shown: those with most to see, of different patients."""

import numpy as np

from workflow_scripts.denoising.judged import Judged


def chosen(patches: Judged, count: int) -> list[int]:
    """Return the places of `count` patches with much contrast, one of each patient while there are.

    Flat patches tell nothing to the eye; nothing that a method made decides what is shown.
    """
    contrast = patches.clean.reshape(len(patches.clean), -1).std(axis=1)
    order = np.argsort(-contrast, kind="stable").tolist()
    owners = patches.table["patient_id"].tolist()
    first = {owners[place]: place for place in reversed(order)}
    ahead = [place for place in order if first[owners[place]] == place]
    return (ahead + [place for place in order if place not in ahead])[:count]
