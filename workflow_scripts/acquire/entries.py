"""Images that are parts of larger files, as the finders of each kind name them."""

from collections.abc import Sequence
from typing import NamedTuple

from workflow_scripts.formats.images import Place


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
