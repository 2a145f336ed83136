"""Whether a search for copies can see any: planted ones must be found, and thresholds be fine."""

import numpy as np
import pandas as pd

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.runtime import log
from workflow_scripts.evaluate.search import Found
from workflow_scripts.evaluate.sets import Subsets
from workflow_scripts.metrics.copies import SHARE, Limit

LEAST = 0.5  # of planted copies, found in a space that can see copies
NAMED = 5  # missed copies, at most


def demand_control(found: Found, control: pd.DataFrame, everything: Subsets) -> None:
    """Raise an InputError if a planted copy of a training image was not found."""
    copied = found.copied["planted"]
    missed = {label: everything["planted"][label][~hits] for label, hits in copied.items()}
    rows = np.concatenate(list(missed.values()))
    if not len(rows):
        return
    ids = control["source_image_id"].to_numpy()[rows]
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    where = ", ".join(f"{label} {len(own)}" for label, own in missed.items() if len(own))
    raise InputError(
        f"jittered copies of the training images {', '.join(ids[:NAMED])}{more} are not found in "
        f"pixels: of {sum(map(len, copied.values()))} planted the search misses {len(ids)} ({where}). "
        "Held-out images lie as near to training images of other patients as these do, so that no "
        "threshold tells them apart. Look at the images named. Often one image stands under two "
        "patients, in train and in val: look for duplicates and mend the patient ids. Images that "
        "are alike but for noise, or a small `tensors.size`, do it too."
    )


def seeing(space: str, found: Found) -> list[str]:
    """Return the classes of whose planted copies a space shows at least LEAST; name the others.

    What a space that cannot see copies takes for copies says nothing.
    """
    shares = {label: hits.mean() for label, hits in found.copied["planted"].items()}
    for label, share in shares.items():
        if share < LEAST:
            log.warning(
                "%s in %s: only %.0f %% of the planted copies are found, so that no image counts as "
                "a copy by it",
                label,
                space,
                100 * share,
            )
    return [label for label, share in shares.items() if share >= LEAST]


def say_coarse(limits: dict[str, Limit]) -> None:
    """Say where few held-out patients make a coarse threshold."""
    for label, limit in limits.items():
        if limit.rank > SHARE * (limit.held_out + 1):
            log.warning(
                "%s: only %d validation patients set the threshold, at which %.1f %% of images that are "
                "no copies count as such",
                label,
                limit.held_out,
                100 / (limit.held_out + 1),
            )
