"""Ages as label tables write them: 58, 058Y, 011M, 003W, 004D."""

import re

import numpy as np

PER_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}
OLDEST = 120.0


def years(text: str) -> float:
    """Return an age in years, from whole or decimal years or DICOM's age string.

    NaN where the text is no age, or where nobody gets so old: the 2017 edition of the NIH table
    holds ages up to 414.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([YMWD]?)\s*", text.upper(), flags=re.ASCII)
    if not found:
        return np.nan
    age = float(found[1]) / PER_YEAR[found[2]]
    return age if age <= OLDEST else np.nan
