"""List the images that one arm of a study trains on."""

import json
from pathlib import Path

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import write_text
from workflow_scripts.common.runtime import log, step
from workflow_scripts.common.schemas import ARM_IMAGES, COPIES, IMAGES, SAMPLES
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.study.arms import cleared, compose, real_images


def compose_arm(
    images_path: Path,
    samples_path: Path | None,
    copies_path: Path | None,
    arm_path: Path,
    removed_path: Path,
    study: str,
    arm: str,
    settings: dict,
    classes: list[str],
    patients: float,
    seed: int,
) -> None:
    """Write the arm's images (ARM_IMAGES), and how many were left out as copies (JSON).

    Parameters
    ----------
    samples_path : SAMPLES; None where the arm takes no synthetic images
    copies_path : COPIES, to leave them out; None: copies stay
    settings : the arm's section of the configuration
    patients, seed : which share of the training patients every arm may use (see `real_images`)
    """
    where = f"studies.{study}.arms.{arm}"
    images = read_table(images_path, IMAGES)
    samples = read_table(samples_path, SAMPLES) if samples_path else None
    removed: dict = {}
    if samples is not None:
        both = sorted(set(images["shard"]) & set(samples["shard"]))
        if both:
            raise InputError(
                "an archive and a shard of synthetic images bear one name: "
                f"{', '.join(both)}. Rename the archive."
            )
        if copies_path:
            samples, removed = cleared(samples, read_table(copies_path, COPIES))
    training = compose(real_images(images, patients, seed), samples, settings, classes, where)
    added = int(training["synthetic"].sum())
    log.info("%d real and %d synthetic images", len(training) - added, added)
    write_table(training, arm_path, ARM_IMAGES)
    taken = training.loc[training["synthetic"], "class_name"].value_counts()
    facts = {
        "without_copies": copies_path is not None,
        "synthetic": {name: int(taken.get(name, 0)) for name in classes},
        "removed": removed,
    }
    write_text(removed_path, json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    with step(snakemake) as config:
        given = snakemake.input
        samples, copies = given.get("samples"), given.get("copies")
        compose_arm(
            Path(given.images),
            Path(samples) if samples else None,
            Path(copies) if copies else None,
            Path(snakemake.output.arm),
            Path(snakemake.output.removed),
            **config,
        )
