"""Take the features of one image set in one feature space, once, for every metric."""

from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.devices import leased_device
from workflow_scripts.common.files import whole_file
from workflow_scripts.common.precision import use_tf32
from workflow_scripts.common.runtime import step
from workflow_scripts.common.store import ImageStore
from workflow_scripts.features.extractors import EXTRACTORS, features_of


def extract_features(
    extractor: str,
    weights: Path | None,
    index: Path,
    shards: list[Path],
    device: str,
    features: Path,
    classes: Path,
) -> None:
    """Write features, float32 (n, d), and class probabilities, float32 (n, K), of n images.

    Parameters
    ----------
    extractor : its name in EXTRACTORS
    weights : the file that it loads; None: it needs none
    index : a table that names shard and row of each image, of which the outputs have a row each
    shards : the images
    device : where to compute
    features, classes : what is written; K = 0 where the extractor names no classes
    """
    store = ImageStore(pd.read_parquet(index, columns=["shard", "row"]), shards)
    with leased_device(device) as where:
        use_tf32(False)
        arrays = features_of(EXTRACTORS[extractor](weights, where), store)
    for path, array in zip((features, classes), arrays, strict=True):
        with whole_file(path) as partial:
            np.save(partial, array)


if __name__ == "__main__":
    with step(snakemake) as config:
        if config is not None:  # not in the cache
            extract_features(
                extractor=config["extractor"],
                weights=Path(snakemake.input.weights) if snakemake.input.weights else None,
                index=Path(snakemake.input.index),
                shards=[Path(path) for path in snakemake.input.shards],
                device=config["device"],
                features=Path(snakemake.output.features),
                classes=Path(snakemake.output.classes),
            )
