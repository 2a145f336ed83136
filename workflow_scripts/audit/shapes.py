"""Shapes: every table and array can be read, and is what its rule declares."""

import numpy as np

from workflow_scripts.audit.claims import Chapter, Check
from workflow_scripts.audit.evidence import Evidence
from workflow_scripts.audit.formats import is_table

shapes = Chapter("The tables")


@shapes.claim("Every table fits its declared schema and has the rows that its record counts")
def tables_fit(evidence: Evidence, check: Check) -> None:
    for record in evidence.records:
        for file in record.outputs:
            if not is_table(record.rule, file.name, file.path):
                continue
            if file.path not in evidence.hashes.files:
                continue  # another claim says that it is gone
            with check.held_against(file.path):
                table = evidence.table(file.path)
                check.count(tables=1, rows=len(table))
                check.equal(file.path, "rows", file.rows, len(table))


@shapes.claim(
    "Every array can be opened, holds finite numbers, and has the rows that its record counts"
)
def arrays_fit(evidence: Evidence, check: Check) -> None:
    for record in evidence.records:
        for file in record.outputs:
            if not file.path.endswith(".npy") or file.path not in evidence.hashes.files:
                continue
            with check.held_against(file.path):
                array = evidence.array(file.path)
                check.count(arrays=1)
                check.equal(file.path, "rows", file.rows, len(array))
                if np.issubdtype(array.dtype, np.inexact) and not all_finite(array):
                    check.fault(file.path, "holds what is no number")


def all_finite(array: np.ndarray, rows: int = 4096) -> bool:
    """Whether an array holds finite numbers alone, looking at some rows at a time."""
    parts = (array[start : start + rows] for start in range(0, len(array), rows))
    return all(np.isfinite(part).all() for part in parts)
