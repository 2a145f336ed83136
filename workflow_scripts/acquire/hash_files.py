"""List the files of a data set with their SHA-256, for later steps to depend on."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from workflow_scripts.common.files import sha256_of
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import DATA_FILES
from workflow_scripts.common.tables import write_table


def hash_files(paths: Iterable[str | Path], folder: str | Path, table: str | Path) -> None:
    """Write the table DATA_FILES of some files below a folder."""
    rows = [
        (Path(path).relative_to(folder).as_posix(), Path(path).stat().st_size, sha256_of(path))
        for path in paths
    ]
    write_table(pd.DataFrame(rows, columns=list(DATA_FILES.columns)), table, DATA_FILES)


if __name__ == "__main__":
    with step(snakemake) as config:
        hash_files(snakemake.input, config["folder"], snakemake.output[0])
