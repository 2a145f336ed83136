"""Take NIH's label table out of torchxrayvision's package, which carries the whole v2020 edition."""

import gzip
import shutil
from importlib.util import find_spec
from pathlib import Path

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import whole_file
from workflow_scripts.common.runtime import step


def extract_label_table(output: str | Path) -> None:
    """Write `Data_Entry_2017_v2020.csv` (112,120 rows) as the package holds it."""
    # Found, not imported: an import would load PyTorch for nothing.
    package = find_spec("torchxrayvision")
    name = "Data_Entry_2017_v2020.csv.gz"
    source = Path(package.origin).parent / "data" / name if package and package.origin else None
    if source is None or not source.is_file():
        raise InputError(
            f"torchxrayvision does not hold {name} here; run `make setup`, or set dataset.nih.labels "
            "to a copy of the table"
        )
    with gzip.open(source) as stream, whole_file(output) as partial, partial.open("wb") as table:
        shutil.copyfileobj(stream, table)


if __name__ == "__main__":
    with step(snakemake):
        extract_label_table(snakemake.output.table)
