"""Join the cohort with its splits: one table that says everything of an image but its pixels."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import COHORT, METADATA, SPLIT, SPLITS
from workflow_scripts.common.tables import read_table, write_table


def join_metadata(cohort: Path, splits: Mapping[str, Path], metadata: Path) -> None:
    """Write the cohort with a column `split` (METADATA), sorted by image.

    Parameters
    ----------
    cohort : parquet, COHORT
    splits : CSV (SPLIT) of "train", "val" and "test", already checked
    """
    parts = [read_table(splits[name], SPLIT).assign(split=name) for name in SPLITS]
    split = pd.concat(parts)[["image_id", "split"]]
    joined = read_table(cohort, COHORT).merge(split, on="image_id", validate="one_to_one")
    write_table(joined.sort_values("image_id"), metadata, METADATA)


if __name__ == "__main__":
    with step(snakemake):
        join_metadata(
            Path(snakemake.input.cohort),
            {name: Path(snakemake.input[name]) for name in SPLITS},
            Path(snakemake.output.metadata),
        )
