"""The colours of lines, one for each method or sampler of a figure."""

from collections.abc import Iterable
from itertools import cycle

from workflow_scripts.common.figures import COLOURS


def colours_of(lines: Iterable[str]) -> dict[str, str]:
    """Return the colour of each line, in their order."""
    return dict(zip(lines, cycle(COLOURS), strict=False))
