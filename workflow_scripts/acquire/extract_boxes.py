"""Take NIH's bounding boxes out of torchxrayvision's package."""

from pathlib import Path

from workflow_scripts.acquire.packaged import unpack
from workflow_scripts.common.runtime import step


def extract_boxes(output: str | Path) -> None:
    """Write `BBox_List_2017.csv` (984 boxes on 880 images) as the package holds it."""
    unpack("BBox_List_2017.csv", output)


if __name__ == "__main__":
    with step(snakemake):
        extract_boxes(snakemake.output.boxes)
