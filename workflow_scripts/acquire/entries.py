"""Images that are parts of larger files, as the finders of each kind name them."""

from collections.abc import Sequence
from typing import NamedTuple


class Place(NamedTuple):
    """Where channels of an image lie, and which values are black and white if the kind measures that.

    `file` is a path below the folder of the data or the stem of a file, `frame` a volume in it, from
    0, `position` a slice or row.
    """

    file: str
    position: int
    frame: int = 0
    low: float | None = None
    high: float | None = None


class Entry(NamedTuple):
    """One image: its id, what is known of it as a label table would write it, and its channels.

    `unit` is what is read as one, so that no two jobs share it; `split` is that of its file, "" where
    none is stated.
    """

    image_id: str
    patient_id: str
    findings: str
    places: Sequence[Place]
    unit: str
    age: str = ""
    sex: str = ""
    split: str = ""
