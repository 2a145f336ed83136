"""Train the domain classifier's recipe on synthetic images alone, and ask it about real ones.

What it sees in real test images is the classification accuracy score (Ravuri & Vinyals 2019).
"""

from pathlib import Path

import numpy as np

from workflow_scripts.classifier.training import predict, train
from workflow_scripts.common.devices import leased_device
from workflow_scripts.common.errors import InputError, few
from workflow_scripts.common.files import REMAKE, whole_file
from workflow_scripts.common.runtime import log, step
from workflow_scripts.common.schemas import IMAGES, SAMPLES
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table


def train_on_synthetic(
    images: Path,
    shards: list[Path],
    samples: Path,
    sample_shards: list[Path],
    settings: dict,
    classes: list[str],
    device: str,
    probabilities: Path,
) -> None:
    """Write the probability of every class for every real image, by one that never saw any.

    Parameters
    ----------
    images, samples : tables of all real and of all synthetic images
    shards, sample_shards : their pixels
    settings : configuration section `classifier`, its `seed` included
    classes : class names in the order of their ids
    probabilities : output, float32 (real images, K), rows as `images`

    Raises
    ------
    InputError
        If an image to train on is a real one, or if the training diverges.
    """
    table, sampled = read_table(images, IMAGES), read_table(samples, SAMPLES)
    real = sorted(set(sampled["image_id"]) & set(table["image_id"]))
    both = {path.resolve() for path in shards} & {path.resolve() for path in sample_shards}
    if real or both:
        named = few(real) if real else few(sorted(path.name for path in both))
        raise InputError(
            f"{samples}: what is to train on synthetic images alone was given real ones: {named}. "
            f"{REMAKE}"
        )
    log.info("training on %d synthetic images and no other", len(sampled))
    # A store of the synthetic shards alone: the training has no way to a real pixel.
    store = ImageStore(sampled, sample_shards)
    labels = sampled["class_id"].to_numpy()
    with leased_device(device) as where:
        model = train(store, labels, settings, len(classes), settings["seed"], where)
        seen = predict(model, ImageStore(table, shards), where)
    if not np.isfinite(seen).all():
        raise InputError(
            "the classifier trained on synthetic images diverged: its predictions are not numbers. "
            "Lower classifier.learning_rate."
        )
    with whole_file(probabilities) as partial:
        np.save(partial, seen)


if __name__ == "__main__":
    with step(snakemake) as config:
        if config is not None:  # not in the cache
            train_on_synthetic(
                images=Path(snakemake.input.images),
                shards=[Path(path) for path in snakemake.input.shards],
                samples=Path(snakemake.input.samples),
                sample_shards=[Path(path) for path in snakemake.input.sample_shards],
                settings=config["classifier"],
                classes=config["classes"],
                device=config["device"],
                probabilities=Path(snakemake.output[0]),
            )
