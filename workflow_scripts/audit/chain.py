"""The chain from the label table to the comparisons: whose images each step was given, in numbers."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pandas as pd

from workflow_scripts.audit.evidence import Evidence, whole_images
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import SPLITS

HELD_OUT = ("val", "test")


@dataclass(frozen=True)
class Link:
    """What one step was given.

    `everybody` counts patients, `patients` those of them with images in each split; of the splits
    `barred` there should be nobody.
    """

    what: str
    path: str
    images: int
    everybody: int
    patients: dict[str, int]
    barred: tuple[str, ...] = ()

    @property
    def wrong(self) -> set[str]:
        """Return the splits that somebody comes from who should not."""
        return {split for split in self.barred if self.patients[split]}


def chain(evidence: Evidence) -> list[Link]:
    """Return the links that can be read, in the order of the flow; of the others, claims tell."""
    try:
        owners, people = evidence.owners, people_of(evidence)
    except InputError:
        return []
    found = []
    for what, path, barred, rows in links(evidence):
        with suppress(InputError, KeyError):
            ids = (evidence.table(path) if rows is None else rows)["image_id"]
            patients = set(ids.map(owners).dropna())
            by_split = {split: len(patients & people[split]) for split in SPLITS}
            found.append(Link(what, path, len(ids), len(patients), by_split, barred))
    return found


def people_of(evidence: Evidence) -> dict[str, set[str]]:
    """Return the patients of each split, by the label table as it was handed out."""
    people: dict[str, set[str]] = {split: set() for split in SPLITS}
    for record in evidence.of("split_patients"):
        for split in SPLITS:
            ids = evidence.table(record.output(split)[0])["image_id"]
            people[split] |= set(ids.map(evidence.owners).dropna())
    return people


def links(
    evidence: Evidence,
) -> Iterator[tuple[str, str, tuple[str, ...], pd.DataFrame | None]]:
    """Yield what was given to whom: in words, its path, the splits barred, and rows if not all."""
    for record in evidence.of("parse_labels"):
        yield "Labels", record.output("labels")[0], (), None
    for record in evidence.of("filter_cohort"):
        yield "Cohort", record.output("cohort")[0], (), None
    names = {"train": "Training split", "val": "Validation split", "test": "Test split"}
    for record in evidence.of("split_patients"):
        for split, name in names.items():
            yield name, record.output(split)[0], others(split), None
    for record in evidence.of("train_diffusion"):
        what = f"Generator {record.wildcards['model']} learned from"
        yield what, record.output("seen")[0], HELD_OUT, None
    for record in evidence.of("train_simplex"):
        what = f"Generator of {record.wildcards['anomaly']}, of simplex noise, learned from"
        yield what, record.output("seen")[0], HELD_OUT, None
    for record in evidence.of("train_autoencoder"):
        what = f"Autoencoder of {record.wildcards['anomaly']} learned from"
        yield what, record.output("seen")[0], HELD_OUT, None
    for record in evidence.of("score_images"):
        what = f"Search {record.wildcards['anomaly']} is judged on"
        yield what, record.output("scores")[0], ("train",), None
    for record in evidence.of("train_domain_classifier"):
        yield "Domain classifier learned from", record.output("seen")[0], HELD_OUT, None
    for record in evidence.of("compose_arm"):
        path = record.output("arm")[0]
        with suppress(InputError):
            arm = evidence.table(path)
            what = f"Arm {record.wildcards['arm']} of {record.wildcards['study']} learns from"
            yield what, path, HELD_OUT, arm[~arm["synthetic"]]
    for record in evidence.of("train_superresolution"):
        name, factor = record.wildcards["superresolution"], record.wildcards["factor"]
        what = f"Super-resolution {name} x{factor} learned from"
        yield what, record.output("seen")[0], HELD_OUT, None
    for record in evidence.of("enlarge_images"):
        name, factor = record.wildcards["superresolution"], record.wildcards["factor"]
        what = f"Super-resolution {name} x{factor} is judged on"
        yield what, record.output("table")[0], others("test"), None
    for record in evidence.of("draw_masks"):
        what = f"Inpainting {record.wildcards['inpainting']} is judged on"
        yield what, record.output("table")[0], others("test"), None
    for record in evidence.of("train_denoiser"):
        path = record.output("seen")[0]
        name, method = record.wildcards["denoising"], record.wildcards["method"]
        with suppress(InputError):
            what = f"Denoising {name}: {method} learned from"
            yield what, path, HELD_OUT, whole_images(evidence.table(path))
    for record in evidence.of("score_denoising"):
        path = record.output("rows")[0]
        with suppress(InputError):
            rows = evidence.table(path).drop_duplicates("image_id")
            what = f"Denoising {record.wildcards['denoising']} is judged on"
            yield what, path, others("test"), whole_images(rows)
    for record in evidence.of("summarise_study"):
        what = f"Study {record.wildcards['study']} is judged on"
        yield what, record.input("predictions")[0], others("test"), None


def others(split: str) -> tuple[str, ...]:
    """Return the splits but one."""
    return tuple(name for name in SPLITS if name != split)
