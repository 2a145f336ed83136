"""A handful of phantom films as training meets them, made by the workflow's own steps."""

from pathlib import Path

from workflow_scripts.common.schemas import SPLITS
from workflow_scripts.curate.filter_cohort import filter_cohort
from workflow_scripts.curate.join_metadata import join_metadata
from workflow_scripts.curate.parse_labels import parse_labels
from workflow_scripts.curate.split_patients import split_patients
from workflow_scripts.formats.sources import images_of
from workflow_scripts.phantom.describe_phantom import describe_phantom
from workflow_scripts.phantom.draw_phantom import draw_phantom
from workflow_scripts.tensors.resize_archive import resize_archive
from workflow_scripts.tensors.select_images import select_images

FRACTIONS = {"train": 0.7, "val": 0.15, "test": 0.15}


def small_dataset(
    folder: Path, patients: int, size: int, classes: list[str], seed: int = 14
) -> tuple[Path, list[Path]]:
    """Draw films and take them through the steps from raw data to tensors.

    Parameters
    ----------
    folder : where everything is written, in the places that the workflow has for it
    patients : each has one film or more
    size : height and width of the images in pixels; films are drawn twice as large
    classes : findings to keep; only images of one finding alone are used

    Returns
    -------
    the table IMAGES, and the shards of pixels

    Raises
    ------
    InputError
        If there are too few patients for every class to be in every split.
    """
    raw, tensors = folder / "raw", folder / "tensors"
    phantom = {"patients": patients, "archives": 1, "size": 2 * size, "seed": seed}
    describe_phantom(raw / "labels.csv", raw / "truth.parquet", phantom)
    draw_phantom(raw / "truth.parquet", raw / "films.tar.gz", "images_001", 2 * size)
    labels, cohort = folder / "labels.parquet", folder / "cohort.parquet"
    parse_labels(raw / "labels.csv", labels, folder / "label_issues.parquet")
    filter_cohort(labels, cohort, folder / "exclusions.parquet", classes)
    splits = {name: folder / "splits" / f"{name}.csv" for name in SPLITS}
    split_patients(cohort, splits, "stratified", seed, FRACTIONS)
    join_metadata(cohort, splits, folder / "metadata.parquet")
    resize_archive(
        "films",
        images_of({"kind": "phantom", "channels": 1}, "films", {"archive": raw / "films.tar.gz"}),
        size,
        0,
        tensors / "films.npy",
        tensors / "films.parquet",
        tensors / "films.rejects.parquet",
    )
    select_images(
        folder / "metadata.parquet",
        labels,
        [tensors / "films.parquet"],
        [tensors / "films.rejects.parquet"],
        classes,
        0,
        0,
        tensors / "images.parquet",
        tensors / "unmatched.parquet",
    )
    return tensors / "images.parquet", [tensors / "films.npy"]
