"""Put the measures of one sampler's images, taken family by family, into one table."""

from pathlib import Path

import pandas as pd

from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import METRICS
from workflow_scripts.common.tables import read_table, write_table

KEY = ["metric", "extractor", "class_name"]


def collect_metrics(parts: list[Path], metrics: Path) -> None:
    """Write all rows of `parts`, in their order.

    Parameters
    ----------
    parts : tables METRICS
    metrics : output, METRICS

    Raises
    ------
    InputError
        If a part does not fit its schema: a value without its floor or N is none.
    ValueError
        If two rows say the same measure of the same class in the same feature space.
    """
    table = pd.concat([read_table(part, METRICS) for part in parts], ignore_index=True)
    twice = table.loc[table.duplicated(KEY), KEY]
    if len(twice):
        raise ValueError(f"measured twice: {', '.join(twice.iloc[0])}")
    write_table(table, metrics, METRICS)


if __name__ == "__main__":
    with step(snakemake) as config:
        collect_metrics([Path(path) for path in snakemake.input], Path(snakemake.output[0]))
