"""Take NIH's label table out of torchxrayvision's package, which carries the whole v2020 edition."""

from pathlib import Path

from workflow_scripts.acquire.packaged import unpack
from workflow_scripts.common.runtime import step


def extract_label_table(output: str | Path) -> None:
    """Write `Data_Entry_2017_v2020.csv` (112,120 rows) as the package holds it."""
    otherwise = ", or set dataset.nih.labels to a copy of the table"
    unpack("Data_Entry_2017_v2020.csv", output, otherwise)


if __name__ == "__main__":
    with step(snakemake):
        extract_label_table(snakemake.output.table)
