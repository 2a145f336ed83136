"""Take the features of one image set in one feature space, once, for every metric."""

from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.devices import leased_device
from workflow_scripts.common.files import whole_file
from workflow_scripts.common.runtime import step
from workflow_scripts.common.store import ImageStore
from workflow_scripts.evaluate.extractors import EXTRACTORS, features_of


def extract_features(
    extractor: str, weights: Path, index: Path, shards: list[Path], device: str, output: Path
) -> None:
    """Write float32 (n, d), one row per row of `index`.

    `index` is an image table or a table of samples: anything that names shard and row.
    """
    store = ImageStore(pd.read_parquet(index, columns=["shard", "row"]), shards)
    with leased_device(device) as where:
        features = features_of(EXTRACTORS[extractor](weights, where), store)
    with whole_file(output) as partial:
        np.save(partial, features)


if __name__ == "__main__":
    with step(snakemake) as config:
        extract_features(
            extractor=config["extractor"],
            weights=Path(snakemake.input.weights),
            index=Path(snakemake.input.index),
            shards=[Path(path) for path in snakemake.input.shards],
            device=config["device"],
            output=Path(snakemake.output[0]),
        )
