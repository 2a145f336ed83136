"""Train the classifier of one arm and seed, and predict the real test images."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.classifier.training import predict, train
from workflow_scripts.common.devices import leased_device
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import REMAKE, sha256_of
from workflow_scripts.common.findings import single_finding
from workflow_scripts.common.runtime import log, step
from workflow_scripts.common.schemas import ARM_IMAGES, IMAGES, PREDICTIONS
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.study.arms import taken_shards

DESCRIBED = ["image_id", "patient_id", "class_id", "class_name", "sex", "view"]


def train_arm(
    images_path: Path,
    shards: list[Path],
    arm_path: Path,
    arm_shards: list[Path],
    proof_path: Path,
    predictions_path: Path,
    study: str,
    arm: str,
    seed: int,
    classes: list[str],
    order: str,
    augmentation: bool,
    sampling: str,
    classifier: dict,
    device: str,
) -> None:
    """Write the class probabilities of every test image with one finding (PREDICTIONS).

    Every arm of one seed starts from the same weights and takes the same number of optimiser
    steps; what the images are, their order and whether they are varied make the difference.

    Parameters
    ----------
    shards, arm_shards : those of the real images, and those of the arm's synthetic ones
    arm_path, proof_path : the arm's images, and the proof that they may be trained on, with the
        SHA-256 of the two tables and of the synthetic shards
    order : `mixed`, or `pretrain`: synthetic images in the first half of the steps, then real ones
    augmentation, sampling : see `classifier.training.train`
    classifier : configuration section `classifier`
    """
    where = f"studies.{study}.arms.{arm}"
    images, training = read_table(images_path, IMAGES), read_table(arm_path, ARM_IMAGES)
    proved = [arm_path, images_path, *taken_shards(training, arm_shards)]
    check_proof(proof_path, proved, where)
    synthetic = training["synthetic"].to_numpy()
    log.info("training on %d real and %d synthetic images", sum(~synthetic), sum(synthetic))
    positions, first = np.arange(len(training)), None
    if order == "pretrain":
        first, positions = np.flatnonzero(synthetic), np.flatnonzero(~synthetic)
    test = images[single_finding(images) & (images["split"] == "test")].sort_values("image_id")
    with leased_device(device) as held:
        model = train(
            ImageStore(training, [*shards, *arm_shards]),
            training["class_id"].to_numpy(dtype=np.int64),
            classifier,
            len(classes),
            seed,
            held,
            positions,
            first=first,
            augmented=augmentation,
            sampling=sampling,
        )
        probabilities = predict(model, ImageStore(test, shards), held)
    if not np.isfinite(probabilities).all():
        raise InputError(
            f"the classifier of {where}, seed {seed}, diverged: its predictions are not numbers. "
            "Lower classifier.learning_rate."
        )
    columns = [f"p_{number}" for number in range(len(classes))]
    scores = pd.DataFrame(probabilities.astype(np.float64), columns=columns, index=test.index)
    frame = test[DESCRIBED].assign(arm=arm, seed=seed).join(scores)
    write_table(frame, predictions_path, PREDICTIONS)


def check_proof(proof_path: Path, paths: list[Path], where: str) -> None:
    """Refuse to train on files other than those that the proof of separation rests on."""
    proved = json.loads(proof_path.read_text(encoding="utf-8"))["sha256"]
    other = [str(path) for path in paths if proved.get(str(path)) != sha256_of(path)]
    if other:
        raise InputError(
            f"{where}: {proof_path} is the proof of another {', '.join(other)}, so that test images "
            f"might be trained on. {REMAKE}"
        )


if __name__ == "__main__":
    with step(snakemake) as config:
        if config is not None:  # not in the cache
            given = snakemake.input
            train_arm(
                Path(given.images),
                [Path(path) for path in given.shards],
                Path(given.arm),
                [Path(path) for path in given.get("arm_shards", [])],
                Path(given.proof),
                Path(snakemake.output[0]),
                **config,
            )
