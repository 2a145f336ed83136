"""Write the report: one page that shows what ran, on what, and what came out."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from workflow_scripts.common import schemas
from workflow_scripts.common.files import write_text
from workflow_scripts.common.findings import single_finding
from workflow_scripts.common.fingerprint import ROOT, lock_hash
from workflow_scripts.common.references import references
from workflow_scripts.common.runtime import step
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table
from workflow_scripts.report import sections
from workflow_scripts.report.page import page
from workflow_scripts.report.pictures import examples, picture_file, pictures
from workflow_scripts.report.provenance import commit, versions

EXAMPLES = 8  # images of each kind per class


@dataclass(frozen=True)
class Data:
    """Files on the data, and the shards with the real images."""

    labels: str
    label_issues: str
    cohort: str
    exclusions: str
    images: str
    unmatched: str
    rejects: list[str]
    shards: list[str]


@dataclass(frozen=True)
class Model:
    """Files of one trained model."""

    training_log: str
    loss_curve: str
    forward_strip: str


@dataclass(frozen=True)
class Samples:
    """Files of one model sampled in one way, and what was measured on them."""

    samples: str
    shards: list[str]
    denoising_strip: str
    metrics: str
    confusion_figure: str


@dataclass(frozen=True)
class Study:
    """Files of one study."""

    summary: str
    forest: str


def render_report(
    output: str | Path,
    config: dict,
    data: Data,
    models: dict[str, Model],
    samples: dict[tuple[str, str], Samples],
    studies: dict[str, Study],
    template: str | Path,
    style: str | Path,
) -> None:
    """Write the page.

    Parameters
    ----------
    config : the whole configuration; what it names is what is shown
    models, studies : by name
    samples : by the names of model and sampler
    template, style : the page's Jinja template and its style sheet
    """
    classes = config["cohort"]["classes"]
    images = read_table(data.images, schemas.IMAGES)
    real = real_examples(images, ImageStore(images, data.shards), classes)
    content = {
        "config": config,
        "dataset": config["dataset"],
        "classes": classes,
        **data_content(data, images, classes),
        "models": [
            model_content(name, config["models"][name], files) for name, files in models.items()
        ],
        "samples": [
            samples_content(names, config["samplers"][names[1]], files, classes, real)
            for names, files in samples.items()
        ],
        "studies": [
            sections.study(
                name,
                read_table(files.summary, schemas.SUMMARY),
                config["studies"][name],
                classes,
            )
            | {"forest": picture_file(files.forest)}
            for name, files in studies.items()
        ],
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
    metrics = read_table(files.metrics, schemas.METRICS)
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
        "measures": sections.measures(metrics, classes),
        "consistency": sections.consistency(metrics, classes),
        "copies": sections.copies(metrics),
        "confusion": picture_file(files.confusion_figure),
    }


def used(config: dict) -> dict:
    """Return a configuration without the sections of other kinds of data set."""
    kinds = {"phantom", "nih", "folder"} - {config["dataset"]["kind"]}
    dataset = {key: value for key, value in config["dataset"].items() if key not in kinds}
    return config | {"dataset": dataset}


def files_of(given: Any, config: dict) -> dict[str, Any]:
    """Sort the rule's lists of files by the names of models, samplers and studies.

    The rule lists them in the sorted order of those names. Which samplers were applied to which
    models, the paths of their images tell: …/<model>/<sampler>/samples.parquet.
    """
    models = sorted(config["models"])
    pairs = [Path(path).parts[-3:-1] for path in given.samples]
    studies = sorted(config["studies"])

    def of(names: list, kind: type, **columns: Iterable) -> dict:
        rows = zip(*columns.values(), strict=True)
        found = [kind(**dict(zip(columns, row, strict=True))) for row in rows]
        return dict(zip(names, found, strict=True))

    return {
        "data": Data(**{field.name: given[field.name] for field in fields(Data)}),
        "models": of(models, Model, **{f.name: given[f.name] for f in fields(Model)}),
        "samples": of(
            pairs,
            Samples,
            samples=given.samples,
            shards=[
                [shard for shard in given.sample_shards if Path(path).parent in Path(shard).parents]
                for path in given.samples
            ],
            denoising_strip=given.denoising_strip,
            metrics=given.metrics,
            confusion_figure=given.confusion_figure,
        ),
        "studies": of(studies, Study, summary=given.summary, forest=given.forest),
    }


if __name__ == "__main__":
    with step(snakemake) as config:
        render_report(
            snakemake.output[0],
            config,
            **files_of(snakemake.input, config),
            template=ROOT / "resources" / "report" / "page.html.j2",
            style=ROOT / "resources" / "report" / "style.css",
        )
