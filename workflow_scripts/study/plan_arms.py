"""Say what each arm of a study trains on, before anything of it is trained or sampled."""

from pathlib import Path

import pandas as pd

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.findings import single_finding
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import ARMS, IMAGES
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.study.arms import given, real_images, synthetic_per_class


def plan_arms(
    images_path: Path,
    plan_path: Path,
    study: str,
    arms: list[tuple[str, dict]],
    classes: list[str],
    patients: float,
    seed: int,
    sampler: str,
    per_class: int,
) -> None:
    """Write one row per arm and class (ARMS): real and synthetic training images.

    Parameters
    ----------
    patients, seed : which share of the training patients every arm may use (see `real_images`)
    per_class : images of each class that the sampler makes

    Raises
    ------
    InputError
        If an arm asks for more images than the sampler makes, would never see a class, or a class
        has no test image.
    """
    images = read_table(images_path, IMAGES)
    tested = set(images.loc[single_finding(images) & (images["split"] == "test"), "class_name"])
    absent = [name for name in classes if name not in tested]
    if absent:
        raise InputError(
            f"studies.{study}: no test image shows {', '.join(absent)}, so nothing can be said "
            "about it. Give the test split more patients (split), or leave the class out of "
            "cohort.classes."
        )
    real = real_images(images, patients, seed)
    rows = []
    for arm, settings in arms:
        where = f"studies.{study}.arms.{arm}"
        names = given(settings, classes)
        wanted = synthetic_per_class(settings["synthetic"], len(real), len(names) or 1)
        if wanted > per_class:
            most = int(100 * per_class * len(names) / len(real)) / 100
            raise InputError(
                f"{where}: synthetic: {settings['synthetic']:g} asks for {wanted} synthetic images "
                f"of each class ({settings['synthetic']:g} x {len(real)} real training images / "
                f"{len(names)} classes), but samplers.{sampler}.per_class is {per_class}. Set that "
                f"to at least {wanted}, or `synthetic` to at most {most:g}."
            )
        for number, name in enumerate(classes):
            own = int((real["class_id"] == number).sum()) if settings["real"] else 0
            added = wanted if name in names else 0
            if not own + added:
                raise InputError(
                    f"{where}: no training image shows {name}, so its classifier would never see "
                    "it. Give the class synthetic images, or leave it out of cohort.classes."
                )
            rows.append((arm, number, name, own, added))
    frame = pd.DataFrame(rows, columns=["arm", "class_id", "class_name", "real", "synthetic"])
    write_table(frame, plan_path, ARMS)


if __name__ == "__main__":
    with step(snakemake) as config:
        plan_arms(Path(snakemake.input.images), Path(snakemake.output[0]), **config)
