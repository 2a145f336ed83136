"""Train the classifier that judges synthetic images, on the real training split alone."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.classifier.training import train
from workflow_scripts.classifier.weights import save
from workflow_scripts.common.devices import leased_device
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import REMAKE
from workflow_scripts.common.findings import single_finding
from workflow_scripts.common.runtime import log, step
from workflow_scripts.common.schemas import CLASSIFIER_LOG, IMAGES, SEEN
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table, write_table


def train_domain_classifier(
    images: Path,
    shards: list[Path],
    settings: dict,
    classes: list[str],
    device: str,
    weights: Path,
    training_log: Path,
    seen_path: Path,
) -> None:
    """Train on the images of the split `train` that show one finding alone, and on no other.

    Which those were is written to `seen_path` (SEEN), from which others prove what they need.
    The weights' metadata records how many images of how many patients those were, and a SHA-256
    of their ids.
    """
    table = read_table(images, IMAGES)
    positions = np.flatnonzero((table["split"] == "train") & single_finding(table))
    seen = table.iloc[positions]
    others = set(table.loc[table["split"] != "train", "patient_id"])
    if not others.isdisjoint(seen["patient_id"]):
        raise InputError(
            f"{images}: patients of the training split are in another split too. {REMAKE}"
        )
    history: list[dict] = []
    with leased_device(device) as where:
        store = ImageStore(table, shards)
        labels = table["class_id"].to_numpy()
        model = train(
            store, labels, settings, len(classes), settings["seed"], where, positions, history
        )
    if not np.isfinite([entry["loss"] for entry in history]).all():
        raise InputError(
            "the domain classifier diverged: its loss is no number. Lower classifier.learning_rate."
        )
    log.info(
        "trained on %d images of %d patients; loss %.3f over the last tenth",
        len(seen),
        seen["patient_id"].nunique(),
        np.mean([entry["loss"] for entry in history[-max(1, len(history) // 10) :]]),
    )
    described = {
        "class_names": json.dumps(classes),
        "size": str(store.size),
        "split": "train",
        "images": str(len(seen)),
        "patients": str(seen["patient_id"].nunique()),
        "image_ids_sha256": hashlib.sha256("\n".join(seen["image_id"]).encode()).hexdigest(),
    }
    write_table(pd.DataFrame(history), training_log, CLASSIFIER_LOG)
    write_table(seen[["image_id", "patient_id"]], seen_path, SEEN)
    save(model, weights, described)


if __name__ == "__main__":
    with step(snakemake) as config:
        if config is not None:  # not in the cache
            train_domain_classifier(
                images=Path(snakemake.input.images),
                shards=[Path(path) for path in snakemake.input.shards],
                settings=config["classifier"],
                classes=config["classes"],
                device=config["device"],
                weights=Path(snakemake.output.weights),
                training_log=Path(snakemake.output.log),
                seen_path=Path(snakemake.output.seen),
            )
