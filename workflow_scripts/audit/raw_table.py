"""The label table as it was handed out, read for its ids alone.

Shares no code with the step that parses it: what that step made is held against this.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from workflow_scripts.common.errors import InputError

NIH = {"image_id": "Image Index", "patient_id": "Patient ID", "findings": "Finding Labels"}


def read_raw_table(path: str | Path, config: dict[str, Any]) -> pd.DataFrame:
    """Return `image_id`, `patient_id` and `findings` of every row, stripped of spaces, as text.

    Parameters
    ----------
    path : CSV, compressed or not
    config : that of the job that parsed it; without `columns` the table is NIH's
    """
    columns = config.get("columns", NIH)
    options = {"header": None, "dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}
    try:
        names = []
        for name in pd.read_csv(path, nrows=1, **options).iloc[0]:
            # NIH's header writes OriginalImage[Width,Height] for two columns.
            names += name.split(",") if "[" in name and name.endswith("]") else [name]
        names = [name.strip() for name in names]
        places = [names.index(columns[ours]) for ours in NIH]
        table = pd.read_csv(path, skiprows=1, index_col=False, names=range(len(names)), **options)
    except (ValueError, EOFError, OSError) as error:  # pandas' own are ValueErrors
        # Its folder is nobody's business: what is said here stands on a page that is passed on.
        raise InputError(
            f"{Path(path).name} cannot be read as the label table ({type(error).__name__})"
        ) from None
    table = table[places].set_axis(list(NIH), axis=1).fillna("")
    table = table.apply(lambda column: column.str.strip())
    return table[table["image_id"] != ""].reset_index(drop=True)
