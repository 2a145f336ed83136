"""List the image files of a folder and deal them out to the jobs that decode them."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from workflow_scripts.acquire.folder import listing
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import FILES
from workflow_scripts.common.tables import write_table


def list_files(folder: str | Path, kind: str, parts: Sequence[str], output: str | Path) -> None:
    """Write the table FILES: every image of `folder`, dealt out in order and evenly to `parts`."""
    files = listing(folder, kind)
    if len(files) < len(parts):
        raise InputError(
            f"dataset.folder.images: {folder} and its subfolders hold {len(files)} images of kind "
            f"{kind}, not enough for dataset.folder.parts: {len(parts)}"
        )
    table = pd.DataFrame(
        {
            "image_id": [file.image_id for file in files],
            "bytes": [file.bytes for file in files],
            "part": [parts[number * len(parts) // len(files)] for number in range(len(files))],
        }
    )
    write_table(table, output, FILES)


if __name__ == "__main__":
    with step(snakemake) as config:
        list_files(config["images"], config["kind"], config["parts"], snakemake.output.files)
