"""Label tables as they are handed out, and whether their images can be told apart."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from workflow_scripts.common.errors import InputError, few
from workflow_scripts.formats.csv_tables import header_of, rows_of, some_lines

NIH_COLUMNS = {
    "image_id": "Image Index",
    "patient_id": "Patient ID",
    "findings": "Finding Labels",
    "age": "Patient Age",
    "sex": "Patient Gender",
    "view": "View Position",
    "follow_up": "Follow-up #",
}


def read_label_table(path: str | Path, columns: Mapping[str, str | None]) -> pd.DataFrame:
    """Read a label table, compressed or not, and check that its images can be told apart.

    Parameters
    ----------
    path : the CSV
    columns : from our name of a column to the table's; None where the table has no such column

    Returns
    -------
    DataFrame of str, as of `rows_of`, with the columns named by us, those without a source left out.

    Raises
    ------
    InputError
        If the file is no CSV, is empty, lacks a column, lacks ids or repeats an image.
    """
    path = Path(path)
    columns = {ours: theirs for ours, theirs in columns.items() if theirs is not None}
    header = header_of(path, brackets=True)
    absent = [name for name in columns.values() if name not in header]
    if absent:
        raise InputError(
            f"{path} lacks the column{'s' * (len(absent) > 1)} {', '.join(absent)}; its first line "
            f"names {', '.join(header) or 'nothing'}. Give another table, or, for the kinds folder "
            "and dicom, name this table's columns in dataset.folder.columns."
        )
    table = rows_of(path, header)[list(columns.values())].set_axis(list(columns), axis=1)
    if table.empty:
        raise InputError(f"{path} has no row below its first line; give a table with images.")
    for ours, what in (("image_id", "image"), ("patient_id", "patient")):
        lines = table.index[table[ours] == ""]
        if len(lines):
            raise InputError(
                f"{path} names no {what} (column {columns[ours]}) on {some_lines(lines)}. Every "
                "image needs its id and its patient's; complete or remove these lines."
            )
    repeated = table[table["image_id"].duplicated(keep=False)]
    if len(repeated):
        ids = repeated["image_id"].unique()
        examples = [
            f"{name} (lines {', '.join(map(str, lines[:3]))})"
            for name, lines in repeated.groupby("image_id", sort=False).groups.items()
        ]
        raise InputError(
            f"{path} holds {len(ids)} image{'s' * (len(ids) > 1)} more than once: "
            f"{few(examples)}. One row per image: remove the others."
        )
    return table
