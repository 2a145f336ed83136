"""What the files of a data set say of their images, read anew for that alone.

Shares no code with the step that lists the images: what that step wrote is held against this.
"""

import gzip
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from workflow_scripts.common.errors import InputError

# What a file that is no longer as it was may raise, or one that somebody forged.
UNREADABLE = (OSError, EOFError, KeyError, ValueError, TypeError, IndexError)


def stated_by_arrays(
    kind: str, settings: Mapping[str, Any], paths: Mapping[str, str]
) -> pd.DataFrame:
    """Return `image_id`, `patient_id` and `findings` of each image, as HDF5 or IDX files say.

    Parameters
    ----------
    kind : hdf5 or idx
    settings : as the job that listed the images had them
    paths : where the files are, by their names
    """
    parts = []
    for entry in settings["files"]:
        name = entry["images"].rsplit("/", 1)[-1].removesuffix(".gz").rsplit(".", 1)[0]
        try:
            if kind == "idx":
                labels = digits_of(paths[entry["labels"]])
            else:
                labels = column(paths[entry["labels"]], settings["arrays"]["labels"])
            ids = [f"{name}/{number:06d}" for number in range(len(labels))]
            people = ids
            if entry["subjects"] is not None:
                people = column(paths[entry["subjects"]], settings["arrays"]["subjects"])
        except UNREADABLE as error:
            raise InputError(
                f"{entry['images']}: its labels cannot be read again ({type(error).__name__})"
            ) from None
        findings = [settings["findings"].get(label, label) for label in labels]
        table = {"image_id": ids, "patient_id": people, "findings": findings}
        parts.append(pd.DataFrame({key: pd.Series(values) for key, values in table.items()}))
    return pd.concat(parts, ignore_index=True)


def column(path: str, name: str) -> list[str]:
    """Return a column of a CSV, or an array of an HDF5 file, as text."""
    if path.lower().endswith((".csv", ".csv.gz")):
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        table = table.fillna("").apply(lambda values: values.str.strip())
        table.columns = table.columns.str.strip()
        return list(table.loc[(table != "").any(axis=1), name])
    with h5py.File(path) as file:
        values = np.ravel(file[name][()])
    if values.dtype.kind in "biuf":
        return [str(int(value)) for value in values]
    return [
        (v.decode(errors="replace") if isinstance(v, bytes) else str(v)).strip() for v in values
    ]


def digits_of(path: str) -> list[str]:
    """Return the labels of an IDX file, which stand behind eight bytes."""
    content = Path(path).read_bytes()
    content = gzip.decompress(content) if path.endswith(".gz") else content
    return [str(value) for value in content[8:]]


def stated_by_names(settings: Mapping[str, Any], listing: pd.DataFrame) -> pd.DataFrame:
    """Return `image_id`, `patient_id` and, if they stand there, `findings` of slices, by their files' names."""
    first = listing[listing["channel"] == 0]
    matches = [re.fullmatch(settings["files"], file) for file in first["file"]]
    groups = [match.groupdict() if match else {} for match in matches]
    table = pd.DataFrame(
        {
            "image_id": first["image_id"].to_numpy(),
            "patient_id": [found.get("subject") for found in groups],
        }
    )
    if any("finding" in found for found in groups):
        table["findings"] = [found.get("finding") for found in groups]
    return table
