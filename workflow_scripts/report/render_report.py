"""Write the report: one page that shows what ran, on what, and what came out."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from workflow_scripts.common import schemas
from workflow_scripts.common.files import write_text
from workflow_scripts.common.findings import single_finding
from workflow_scripts.common.fingerprint import ROOT, lock_hash
from workflow_scripts.common.provenance import commit, versions
from workflow_scripts.common.references import references
from workflow_scripts.common.runtime import step
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table
from workflow_scripts.common.wording import pixel_words, reduced_words
from workflow_scripts.report import sections
from workflow_scripts.report.applications import NAMES as APPLICATIONS
from workflow_scripts.report.applications import Files, application_contents
from workflow_scripts.report.artefacts import (
    Data,
    Model,
    Readers,
    Samples,
    Study,
    by_arm,
    files_of,
)
from workflow_scripts.report.costs import costs
from workflow_scripts.report.measures import families, row_of
from workflow_scripts.report.page import page
from workflow_scripts.report.pictures import examples, picture_file, pictures
from workflow_scripts.report.studies import proof, removed, study

EXAMPLES = 8  # images of each kind per class


def render_report(
    output: str | Path,
    config: dict,
    data: Data,
    models: dict[str, Model],
    samples: dict[tuple[str, str], Samples],
    studies: dict[str, Study],
    readers: dict[str, Readers],
    applications: dict[str, dict[str, dict[str, Files]]],
    template: str | Path,
    style: str | Path,
    costs: dict | None = None,
) -> None:
    """Write the page.

    Parameters
    ----------
    config : the whole configuration; what it names is what is shown
    models, studies : by name
    readers : by name, the reader studies that were answered
    samples : by the names of model and sampler
    applications : files of each application that is shown, by entry and folder
    template, style : the page's Jinja template and its style sheet
    costs : what the steps cost (costs.py)
    """
    classes = config["cohort"]["classes"]
    pixels = config["tensors"]["channels"], config["tensors"]["bits"]
    images = read_table(data.images, schemas.IMAGES)
    real = real_examples(images, ImageStore(images, data.shards), classes)
    content = {
        "config": config,
        "dataset": config["dataset"],
        "pixels": pixel_words(*pixels),
        "reduced": reduced_words(*pixels),
        "classes": classes,
        **data_content(data, images, classes),
        "split_words": sections.split_words(config["split"]),
        "models": [
            model_content(name, config["models"][name], files) for name, files in models.items()
        ],
        "samples": [
            samples_content(names, config["samplers"][names[1]], files, classes, real)
            for names, files in samples.items()
        ],
        "studies": [
            study_content(name, config["studies"][name], files, classes)
            for name, files in studies.items()
        ],
        "readers": [
            {
                "name": name,
                "settings": config["readers"][name],
                "figure": picture_file(files.figure),
                **sections.readers(read_table(files.scores, schemas.READER_SCORES)),
            }
            for name, files in readers.items()
        ],
        "applications": application_contents(config, applications),
        "costs": costs,
        "seeds": sections.seeds(used(config)),
        "configuration": yaml.safe_dump(
            sections.shown_configuration(config), sort_keys=False, allow_unicode=True
        ),
        "references": references(config),
        "commit": commit(ROOT),
        "versions": versions(),
        "lock": lock_hash(),
    }
    write_text(output, page(template, style, content))


def data_content(data: Data, images: pd.DataFrame, classes: list[str]) -> dict[str, Any]:
    """Return the sections on labels, cohort, pixels and splits."""
    rejects = pd.concat([read_table(path, schemas.REJECTS) for path in data.rejects])
    return {
        "flow": sections.flow(
            read_table(data.labels, schemas.LABELS),
            read_table(data.exclusions, schemas.EXCLUSIONS),
            read_table(data.cohort, schemas.COHORT),
            images,
        ),
        "split": sections.split_table(images, classes),
        "issues": sections.issues(read_table(data.label_issues, schemas.LABEL_ISSUES)),
        "rejects": rejects.to_dict("records"),
        "unmatched": sections.alone(read_table(data.unmatched, schemas.UNMATCHED)),
    }


def real_examples(images: pd.DataFrame, store: ImageStore, classes: list[str]) -> list[dict]:
    """Return pictures of real images of each class, and the splits that they come from."""
    found = []
    alone = np.flatnonzero(single_finding(images))
    for class_id in range(len(classes)):
        chosen = alone[examples(images.iloc[alone], class_id, EXAMPLES)]
        found.append(
            {
                "pictures": pictures(store.gather(chosen)),
                "splits": sorted(set(images["split"].iloc[chosen]), key=schemas.SPLITS.index),
            }
        )
    return found


def model_content(name: str, settings: dict, files: Model) -> dict[str, Any]:
    """Return what is shown of a model."""
    return {
        "name": name,
        "settings": settings,
        "process": sections.process(settings["diffusion"]),
        "training": sections.training(read_table(files.training_log, schemas.TRAINING_LOG)),
        "loss_curve": picture_file(files.loss_curve),
        "forward_strip": picture_file(files.forward_strip),
    }


def samples_content(
    names: tuple[str, str], settings: dict, files: Samples, classes: list[str], real: list[dict]
) -> dict[str, Any]:
    """Return what is shown of a model's samples: beside real images, and measured."""
    model, sampler = names
    index = read_table(files.samples, schemas.SAMPLES)
    store = ImageStore(index, files.shards)
    measured = families(read_table(files.metrics, schemas.METRICS), classes)
    cards = row_of(measured, "class_accuracy"), row_of(measured, "kernel_distance")
    sheets = [
        {
            "name": name,
            "real": real[class_id],
            "synthetic": pictures(store.gather(examples(index, class_id, EXAMPLES))),
        }
        for class_id, name in enumerate(classes)
    ]
    return {
        "model": model,
        "sampler": sampler,
        "settings": settings,
        "number": len(index),
        "sheets": sheets,
        "denoising_strip": picture_file(files.denoising_strip),
        "families": measured,
        "cards": [row for row in cards if row],
        **{
            name: picture_file(getattr(files, name)) for name in ("confusion", "physics", "closest")
        },
    }


def study_content(name: str, settings: dict, files: Study, classes: list[str]) -> dict[str, Any]:
    """Return what is shown of a study."""
    return {
        **study(
            name,
            read_table(files.summary, schemas.SUMMARY),
            read_table(files.subgroups, schemas.SUBGROUPS),
            settings,
            classes,
        ),
        "removed": removed(by_arm(files.removed)),
        "proof": proof(by_arm(files.separation)),
        **{
            figure: picture_file(getattr(files, figure))
            for figure in ("forest", "ratios", "calibration")
        },
    }


def used(config: dict) -> dict:
    """Return a configuration without other kinds of data set, and applications that are not shown."""
    kind = config["dataset"]["kind"]
    own = {"name", "kind", "folder" if kind == "dicom" else kind}
    dataset = {key: value for key, value in config["dataset"].items() if key in own}
    left_out = set(APPLICATIONS) - set(config["report"]["applications"])
    return {k: v for k, v in config.items() if k not in left_out} | {"dataset": dataset}


if __name__ == "__main__":
    with step(snakemake) as config:
        render_report(
            snakemake.output[0],
            config,
            **files_of(snakemake.input, config),
            template=ROOT / "resources" / "report" / "page.html.j2",
            style=ROOT / "resources" / "report" / "style.css",
            # Of the records as they stand: they are volatile, and no inputs.
            costs=costs(Path(snakemake.output[0]).parents[1], snakemake.input),
        )
