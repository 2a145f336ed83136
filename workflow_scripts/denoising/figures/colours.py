"""A colour for each method, the same in every figure of a study."""

from collections.abc import Iterable
from itertools import cycle

from workflow_scripts.common.figures import COLOURS

DOES_NOTHING = "#adb5bd"


def colours_of(methods: Iterable[str], nothing: str | None = None) -> dict[str, str]:
    """Return the colour of each method, in their order; `nothing` is one that does nothing, grey."""
    found = dict(zip(methods, cycle(COLOURS), strict=False))
    return found if nothing is None else {nothing: DOES_NOTHING} | found
