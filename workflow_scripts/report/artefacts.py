"""The files that the report reads, sorted by model, sampler, study, arm and reader study."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from workflow_scripts.report.applications import NAMES, by_entry


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
    confusion: str
    physics: str
    closest: str


@dataclass(frozen=True)
class Study:
    """Files of one study; `removed` and `separation` hold one per arm."""

    summary: str
    subgroups: str
    forest: str
    ratios: str
    calibration: str
    removed: list[str]
    separation: list[str]


@dataclass(frozen=True)
class Readers:
    """Files of one reader study that was answered."""

    scores: str
    figure: str


def files_of(given: Any, config: dict) -> dict[str, Any]:
    """Sort the rule's lists of files by the names of models, samplers and studies.

    The rule lists them in the sorted order of those names. Which samplers were applied to which
    models, the paths of their images tell: …/<model>/<sampler>/samples.parquet; of which study an
    arm is, that of its file: …/<study>/<folder>/<arm>.json; which reader studies were answered, those
    of their scores: …/readers/<name>/scores.parquet.
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
            **{
                name: given[name]
                for name in ("denoising_strip", "metrics", "confusion", "physics", "closest")
            },
        ),
        "studies": of(
            studies,
            Study,
            **{
                name: given[name]
                for name in ("summary", "subgroups", "forest", "ratios", "calibration")
            },
            **{
                name: [[path for path in given[name] if study_of(path) == st] for st in studies]
                for name in ("removed", "separation")
            },
        ),
        "readers": of(
            [Path(path).parent.name for path in given.scores],
            Readers,
            scores=given.scores,
            figure=given.scores_figure,
        ),
        "applications": {name: by_entry(name, given[name]) for name in NAMES},
    }


def study_of(path: str) -> str:
    """Return the study that a file …/<study>/<folder>/<file> belongs to."""
    return Path(path).parts[-3]


def by_arm(paths: list[str]) -> dict[str, dict]:
    """Return what the JSON files of a study's arms hold, by arm: <arm>.json."""
    return {Path(path).stem: json.loads(Path(path).read_text("utf-8")) for path in paths}
