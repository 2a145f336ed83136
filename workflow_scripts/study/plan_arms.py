"""Say what each arm of a study trains on, before anything of it is trained or sampled."""

from pathlib import Path

import pandas as pd

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.findings import single_finding
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import ARMS, IMAGES
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.study.arms import synthetic_per_class


def plan_arms(
    images_path: Path,
    plan_path: Path,
    study: str,
    arms: list[tuple[str, dict]],
    classes: list[str],
    sampler: str,
    per_class: int,
) -> None:
    """Write one row per arm and class (ARMS): real and synthetic training images.

    Raises
    ------
    InputError
        If an arm asks for more images than the sampler makes, or a class has no test image.
    """
    images = read_table(images_path, IMAGES)
    images = images[single_finding(images)]
    tested = set(images.loc[images["split"] == "test", "class_name"])
    absent = [name for name in classes if name not in tested]
    if absent:
        raise InputError(
            f"studies.{study}: no test image shows {', '.join(absent)}, so nothing can be said "
            "about it. Enlarge split.fractions.test or leave the class out of cohort.classes."
        )
    train = images[images["split"] == "train"]
    rows = []
    for arm, settings in arms:
        wanted = synthetic_per_class(settings["synthetic"], len(train), len(classes))
        if wanted > per_class:
            most = int(100 * per_class * len(classes) / len(train)) / 100
            raise InputError(
                f"studies.{study}.arms.{arm}: synthetic: {settings['synthetic']:g} asks for "
                f"{wanted} synthetic images of each class ({settings['synthetic']:g} x "
                f"{len(train)} real training images / {len(classes)} classes), but "
                f"samplers.{sampler}.per_class is {per_class}. Set that to at least {wanted}, or "
                f"`synthetic` to at most {most:g}."
            )
        for number, name in enumerate(classes):
            real = int((train["class_id"] == number).sum())
            rows.append((arm, number, name, real, wanted))
    frame = pd.DataFrame(rows, columns=["arm", "class_id", "class_name", "real", "synthetic"])
    write_table(frame, plan_path, ARMS)


if __name__ == "__main__":
    with step(snakemake) as config:
        plan_arms(Path(snakemake.input.images), Path(snakemake.output[0]), **config)
