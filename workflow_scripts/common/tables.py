"""Tables with a declared schema, checked when written and when read."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pandera.pandas as pa
import pyarrow

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import REMAKE, whole_file


def write_table(frame: pd.DataFrame, path: str | Path, schema: pa.DataFrameSchema) -> None:
    """Validate `frame`, then write it as parquet or, by the suffix of `path`, as CSV.

    Raises
    ------
    InputError
        If the frame does not fit the schema; nothing is written.
    """
    frame = checked(frame.reset_index(drop=True), path, schema)
    with whole_file(path) as partial:
        if partial.suffix == ".csv":
            frame.to_csv(partial, index=False, lineterminator="\n")
        else:
            frame.to_parquet(partial, index=False)


def read_table(path: str | Path, schema: pa.DataFrameSchema) -> pd.DataFrame:
    """Read a table that `write_table` wrote and validate it again: it may have been edited."""
    path = Path(path)
    try:
        if path.suffix == ".csv":
            kinds = {name: str(column.dtype) for name, column in schema.columns.items()}
            frame = pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values=[""])
        else:
            frame = pd.read_parquet(path)
    except (ValueError, KeyError, TypeError, OSError, pyarrow.ArrowException) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's, not of what the file holds
        raise InputError(f"{path} cannot be read ({error}). {REMAKE}") from None
    return checked(frame, path, schema)


def checked(frame: pd.DataFrame, path: str | Path, schema: pa.DataFrameSchema) -> pd.DataFrame:
    """Return `frame` in the schema's column order, or say which column breaks which rule."""
    try:
        frame = schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases
        lines = [
            f"  column {case.column}: {case.check}, found {case.failure_case!r}"
            for case in cases.head(5).itertuples()
        ]
        more = f"\n  and {len(cases) - 5} more" if len(cases) > 5 else ""
        text = "\n".join(lines) + more
        raise InputError(f"{path} does not fit its schema:\n{text}\n{REMAKE}") from None
    ordered = [name for name in schema.columns if name in frame]
    return frame[ordered + [name for name in frame if name not in schema.columns]]


def table_of(rows: Iterable[dict], schema: pa.DataFrameSchema) -> pd.DataFrame:
    """Return rows as a table of the schema's columns and types, which there may be no row of."""
    kinds = {name: str(column.dtype) for name, column in schema.columns.items()}
    return pd.DataFrame(list(rows), columns=list(kinds)).astype(kinds)
