"""List the images that are parts of larger files, with their labels, and deal them out to jobs."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from workflow_scripts.acquire.arrays import hdf5_images, idx_images
from workflow_scripts.acquire.data_files import SIDES
from workflow_scripts.acquire.entries import Entry
from workflow_scripts.acquire.folder import listing as files_below
from workflow_scripts.acquire.subjects import read_subjects
from workflow_scripts.acquire.volumes import images_of_volume, measured, volumes_of
from workflow_scripts.common.errors import InputError, few
from workflow_scripts.common.files import write_text
from workflow_scripts.common.runtime import log, progress, step
from workflow_scripts.common.schemas import DROPPED, LISTING
from workflow_scripts.common.tables import table_of, write_table

EMPTY = "empty slice"
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def list_images(
    images: Sequence[Entry],
    dropped: Sequence[str],
    parts: Sequence[str],
    outputs: Mapping[str, str | Path],
) -> None:
    """Write the tables LISTING and DROPPED, the label table (CSV) and, where files state splits, lists.

    Parameters
    ----------
    images : in their order, those of one unit together
    dropped : ids of slices that show nothing
    parts : names of the jobs; each gets whole units, as many as the others
    outputs : paths of `listing`, `dropped`, `labels` and, for `split.method: official`,
        `train_val_list`, `val_list` and `test_list`

    Raises
    ------
    InputError
        If there are fewer units than parts, if two images have the same id, or if what is said of one
        cannot stand in a table. Nothing is written then.
    """
    refuse_twins([*(one.image_id for one in images), *dropped])
    for one in images:
        refuse_control(one)
    units = {unit: number for number, unit in enumerate(dict.fromkeys(one.unit for one in images))}
    if len(units) < len(parts):
        raise InputError(
            f"there is not enough to read for {len(parts)} jobs: {len(units)} volumes or images with "
            "something to see. Lower `parts` of the data set to as many, or if there should be more look at its "
            "`files`, `range`, `window` and `empty`"
        )
    part = {unit: parts[number * len(parts) // len(units)] for unit, number in units.items()}
    rows = (
        {"image_id": one.image_id, "part": part[one.unit], "channel": channel, **place._asdict()}
        for one in images
        for channel, place in enumerate(one.places)
    )
    lost = ({"image_id": name, "reason": EMPTY} for name in dropped)
    write_table(table_of(rows, LISTING), outputs["listing"], LISTING)
    write_table(table_of(lost, DROPPED), outputs["dropped"], DROPPED)
    for name, splits in (
        ("train_val_list", ("train", "val")),
        ("val_list", ("val",)),
        ("test_list", ("test",)),
    ):
        if name in outputs:
            ids = [one.image_id for one in images if one.split in splits]
            write_text(outputs[name], "".join(f"{image_id}\n" for image_id in ids))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["image_id", "patient_id", "findings", "age", "sex"])
    for one in images:
        table.writerow([one.image_id, one.patient_id, one.findings, one.age, one.sex])
    write_text(outputs["labels"], text.getvalue())
    log.info(
        "%d images of %d subjects; %d slices are empty",
        len(images),
        len({one.patient_id for one in images}),
        len(dropped),
    )


def refuse_twins(ids: Sequence[str]) -> None:
    """Raise an `InputError` if two images have the same id."""
    twins = [name for name, count in Counter(ids).items() if count > 1]
    if twins:
        raise InputError(
            f"{len(twins)} images are called as another one is: {few(twins)}. They are called by their "
            "files: rename these, or move them to another folder"
        )


def refuse_control(one: Entry) -> None:
    """Raise an `InputError` if what is said of an image would end its line in the label table."""
    for name in ("image_id", "patient_id", "findings", "age", "sex"):
        if CONTROL.search(value := getattr(one, name)):
            raise InputError(
                f"{name} of {one.image_id!r} is {value!r}, with a line break or another control "
                "character; correct it in the data set"
            )


def volume_images(settings: Mapping[str, Any], threads: int = 1) -> tuple[list[Entry], list[str]]:
    """Return the images of NIfTI files, and the ids of empty slices.

    Parameters
    ----------
    settings : the configuration's `dataset.nifti`
    threads : volumes that are read at a time

    Raises
    ------
    InputError
        If a file is damaged or not as it should be, or the table does not name a subject.
    """
    folder, labels = settings["images"], settings["labels"]
    names = [file.image_id for file in files_below(folder, "nifti")]
    mask = settings["mask"] or {}
    volumes = volumes_of(names, settings["files"], settings["contrasts"], mask.get("contrast"))
    known = {} if labels is None else read_subjects(labels, settings["columns"])
    strangers = sorted({one.subject for one in volumes} - set(known)) if labels is not None else []
    if strangers:
        raise InputError(
            f"{labels} names {len(strangers)} subjects of the files not: {few(strangers)}. Add them, "
            "remove their files, or have the group `subject` of dataset.nifti.files give the ids of "
            f"the table, such as {few(sorted(known), 3)}."
        )
    options = {name: settings[name] for name in ("axis", "window", "percentiles", "every", "empty")}
    images: list[Entry] = []
    dropped: list[str] = []
    with ThreadPoolExecutor(threads) as pool:
        waiting = [
            pool.submit(measured, volume, folder, span=settings["range"], **options)
            for volume in volumes
        ]
        try:
            for volume, job in progress(
                zip(volumes, waiting, strict=True), "reading", len(volumes), "volume"
            ):
                facts = dict(known.get(volume.subject, {}))
                if volume.finding is not None:
                    facts["findings"] = volume.finding
                found, empty = images_of_volume(
                    volume, job.result(), settings["axis"], mask.get("finding"), facts
                )
                images += found
                dropped += empty
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return images, dropped


def array_images(kind: str, settings: Mapping[str, Any], channels: int) -> Iterator[Entry]:
    """Yield the images of HDF5 or IDX files, in the order of the files.

    Parameters
    ----------
    kind : hdf5 or idx
    settings : the configuration's `dataset.<kind>`, with `folder` and `files` as `data_files` found them
    channels : that an image has
    """
    for entry in settings["files"]:
        images, labels, subjects = (
            entry[side] and str(Path(settings["folder"], entry[side])) for side in SIDES
        )
        if kind == "idx":
            found = idx_images(images, labels, settings["findings"])
        else:
            found = hdf5_images(
                images,
                labels,
                subjects,
                settings["arrays"],
                channels,
                settings["window"] is not None,
                settings["findings"],
            )
        for one in found:
            place = one.places[0]._replace(file=entry["images"])
            yield one._replace(places=[place], split=entry["split"] or "")


if __name__ == "__main__":
    with step(snakemake) as config:
        kind, settings, empty = config["kind"], config["settings"], []
        if kind == "nifti":
            found, empty = volume_images(settings, snakemake.threads)
        else:
            found = list(array_images(kind, settings, config["channels"]))
        list_images(found, empty, config["parts"], dict(snakemake.output.items()))
