"""Train the classifier of one arm and seed, and predict the real test images."""

from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.classifier.training import predict, train
from workflow_scripts.common.devices import leased_device
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.findings import single_finding
from workflow_scripts.common.runtime import log, step
from workflow_scripts.common.schemas import IMAGES, PREDICTIONS, SAMPLES
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.study.arms import compose, guard, synthetic_per_class


def train_arm(
    images_path: Path,
    shards: list[Path],
    samples_path: Path | None,
    sample_shards: list[Path],
    predictions_path: Path,
    study: str,
    arm: str,
    synthetic: float,
    source: str | None,
    seed: int,
    classes: list[str],
    classifier: dict,
    device: str,
) -> None:
    """Write the class probabilities of every test image with one finding (PREDICTIONS).

    Every arm of one seed starts from the same weights and takes the same number of optimiser
    steps; only the images differ.

    Parameters
    ----------
    synthetic : synthetic images in all per real training image
    source : what the ids of the synthetic images begin with; None where the arm has none
    classifier : configuration section `classifier`
    """
    images = read_table(images_path, IMAGES)
    samples = read_table(samples_path, SAMPLES) if samples_path else None
    single = single_finding(images)
    real = int((single & (images["split"] == "train")).sum())
    where = f"studies.{study}.arms.{arm}"
    training = compose(images, samples, synthetic_per_class(synthetic, real, len(classes)), where)
    guard(training, images, source, where)
    added = int(training["synthetic"].sum())
    log.info("training on %d real and %d synthetic images", len(training) - added, added)

    stems = [Path(path).stem for path in [*shards, *sample_shards]]
    if len(set(stems)) < len(stems):
        raise InputError(
            "an archive and a shard of synthetic images bear one name: "
            f"{', '.join(sorted({stem for stem in stems if stems.count(stem) > 1}))}. Rename the "
            "archive."
        )
    store = ImageStore(training, [*shards, *sample_shards])
    labels = training["class_id"].to_numpy(dtype=np.int64)
    test = images[single & (images["split"] == "test")].sort_values("image_id")
    with leased_device(device) as held:
        model = train(store, labels, classifier, len(classes), seed, held)
        probabilities = predict(model, ImageStore(test, shards), held)
    if not np.isfinite(probabilities).all():
        raise InputError(
            f"the classifier of {where}, seed {seed}, diverged: its predictions are not numbers. "
            "Lower classifier.learning_rate."
        )
    frame = test[["image_id", "patient_id", "class_id", "class_name"]].assign(arm=arm, seed=seed)
    columns = [f"p_{number}" for number in range(len(classes))]
    scores = pd.DataFrame(probabilities.astype(np.float64), columns=columns, index=test.index)
    write_table(frame.join(scores), predictions_path, PREDICTIONS)


if __name__ == "__main__":
    with step(snakemake) as config:
        samples = snakemake.input.get("samples")
        train_arm(
            Path(snakemake.input.images),
            [Path(path) for path in snakemake.input.shards],
            Path(samples) if samples else None,
            [Path(path) for path in snakemake.input.get("sample_shards", [])],
            Path(snakemake.output[0]),
            **config,
        )
