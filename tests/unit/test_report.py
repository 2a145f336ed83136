"""The report, rendered from small stand-ins of every artefact that it reads."""

import json
import re
import subprocess
from dataclasses import fields, replace
from functools import cache
from html.parser import HTMLParser
from io import BytesIO
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from snakemake.iocontainers import InputFiles

from workflow_scripts.common import schemas
from workflow_scripts.common.configuration import load
from workflow_scripts.common.figures import ACCENT, plt, tile
from workflow_scripts.common.numbers import fixed, short, signed, signed_span
from workflow_scripts.common.provenance import commit
from workflow_scripts.common.published import FORMULAS, PUBLISHED, name_of
from workflow_scripts.common.references import references
from workflow_scripts.common.tables import write_table
from workflow_scripts.report import sections
from workflow_scripts.report.answer import headline, paragraph
from workflow_scripts.report.artefacts import Data, Model, Readers, Samples, Study, files_of
from workflow_scripts.report.comparisons import Comparison, comparisons
from workflow_scripts.report.measures import FAMILIES, bar, families
from workflow_scripts.report.pictures import examples, picture
from workflow_scripts.report.render_report import render_report
from workflow_scripts.report.studies import difference, left_out, probability
from workflow_scripts.report.verdicts import MEANINGS, verdict, way, written

HOSTILE = "Pneumo<script>alert(1)</script>thorax"
PIXELS = 64


# -- stand-ins


def chests(number: int, class_id: int, rng: np.random.Generator, blur: float) -> np.ndarray:
    """Sketch chest films: uint8 (number, PIXELS, PIXELS)."""
    y, x = np.mgrid[-1 : 1 : PIXELS * 1j, -1 : 1 : PIXELS * 1j]
    films = np.empty((number, PIXELS, PIXELS), np.uint8)
    for film in films:
        wide, high, shift = rng.normal([1, 1, 0], [0.05, 0.05, 0.03])
        light = 0.75 / (1 + np.exp((np.hypot(x / (0.9 * wide), y / 1.3) - 0.9) * 14))
        for side in (-1, 1):
            lung = np.hypot((x - shift - 0.4 * side * wide) / 0.27, (y + 0.08) / (0.6 * high))
            light -= 0.5 / (1 + np.exp((lung - 0.95) * (12 - blur)))
        heart = np.hypot((x - shift - 0.12) / (0.2 + 0.1 * (class_id == 2)), (y - 0.3) / 0.3)
        light += 0.45 / (1 + np.exp((heart - 1) * (10 - blur)))
        light += 0.06 * np.cos(22 * (y - 0.15 * x**2)) * (np.abs(x) > 0.15)
        if class_id == 3:
            light += 0.4 / (1 + np.exp((0.42 - y + 0.3 * x) * 16)) * (x < 0)
        light += rng.normal(0, 0.02, light.shape)
        film[:] = np.clip(255 * light, 0, 255)
    return films


@cache
def drawn(kind: str) -> bytes:
    """Draw a stand-in of a figure (PNG)."""
    figure, axes = plt.subplots(figsize=(3, 1.5))
    x = np.arange(1, 60)
    if kind == "loss":
        axes.plot(x, 0.4 / x**0.5)
        axes.set(xlabel="step", ylabel="loss")
    elif kind == "forest":
        axes.errorbar([0.004, -0.002], [1, 0], xerr=0.016, fmt="o", color=ACCENT)
        axes.axvline(0)
    else:
        axes.imshow(np.eye(6) * 80 + 3, cmap="Blues")
    stream = BytesIO()
    figure.savefig(stream, format="png")
    plt.close(figure)
    return stream.getvalue()


def curve(path: Path, kind: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(drawn(kind))


def strip(path: Path, film: np.ndarray, rng: np.random.Generator) -> None:
    noise = rng.normal(128, 60, film.shape)
    steps = [np.clip(film * (1 - a) + noise * a, 0, 255) for a in np.linspace(0, 1, 8)]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(tile(np.array(steps, np.uint8), columns=8)).save(path)


SHA = {"inception": PUBLISHED["inception"].sha256, "domain": "0" * 64, "pixels": None}
# (metric, extractor): value, floor, ceiling, half the interval (0: none); by class or not.
MEASURED = {
    ("frechet_distance", "domain"): (31.2, 9.8, 412.0, 6.1, False),
    ("frechet_distance", "inception"): (88.4, 41.3, 377.0, 0, False),
    ("frechet_distance_infinity", "domain"): (22.1, 0.412, 398.0, 7.3, False),
    ("kernel_distance", "domain"): (0.213, 0.0108, 4.06, 0.0511, True),
    ("kernel_distance", "inception"): (0.0214, -0.00031, 0.296, 0.0032, True),
    ("gaussian_kernel_distance", "domain"): (0.0123, 0.0119, 0.871, 0.0042, True),
    ("precision", "domain"): (0.713, 0.806, 0.0, 0.041, True),
    ("recall", "domain"): (0.322, 0.794, 0.0, 0.052, True),
    ("density", "domain"): (1.31, 0.98, 0.0, 0.0711, True),
    ("coverage", "domain"): (0.61, 0.88, 0.0, 0.047, True),
    ("class_score", "domain"): (3.37, 3.91, 1.02, 0.213, False),
    ("msssim_diversity", "pixels"): (0.84, 1.03, 0.0, 0.061, True),
    ("class_accuracy", "domain"): (0.642, 0.853, 0.167, 0.051, True),
    ("class_auroc", "domain"): (0.894, 0.966, 0.5, 0.023, True),
    ("classification_accuracy_score", "domain"): (0.517, 0.836, 0.167, 0.062, True),
    ("intensity_distance", "pixels"): (4.44, 1.21, 61.7, 0.91, True),
    ("spectrum_distance", "pixels"): (1.62, 0.311, 28.4, 0.222, True),
    ("sharpness_ratio", "pixels"): (0.881, 0.993, 9.12, 0.031, True),
    ("memorised_fraction", "domain"): (0.0148, 0.011, 1.0, 0.004, True),
    ("closer_to_train", "domain"): (0.504, 0.48, 1.0, 0.0512, True),
    ("memorised_fraction", "pixels"): (0.057, 0.009, 1.0, 0.011, True),
    ("closer_to_train", "pixels"): (0.613, 0.51, 0.97, 0.052, True),
}
CHANCE = {"memorised_fraction": (0.0083, 0.0194), "closer_to_train": (0.5, np.nan)}
CEILING_OF = {
    "class_accuracy": "chance",
    "class_auroc": "chance",
    "classification_accuracy_score": "chance",
    "msssim_diversity": "equal images",
    "memorised_fraction": "planted copies",
    "closer_to_train": "planted copies",
}


def metric_row(metric: str, extractor: str = "domain", class_name: str = "pooled", **other) -> dict:
    """Return a row of METRICS as MEASURED has it, but for `other`."""
    value, floor, ceiling, half, _ = MEASURED[metric, extractor]
    worst = "noise" if class_name == "pooled" else "wrong class"
    row = {
        "metric": metric,
        "name": name_of(metric, extractor, SHA[extractor]),
        "extractor": extractor,
        "weights_sha256": SHA[extractor],
        "class_name": class_name,
        "n": 180 if class_name == "pooled" else 30,
        "n_reference": 180 if class_name == "pooled" else 30,
        "value": value,
        "low": value - half if half else np.nan,
        "high": value + half if half else np.nan,
        "interval": "jackknife 95 %" if half else "none",
        "floor": floor,
        "train": 0.9 * floor,
        "ceiling": ceiling,
        "ceiling_of": CEILING_OF.get(metric, worst),
        "expected": CHANCE.get(metric, (np.nan, np.nan))[0],
        "expected_high": CHANCE.get(metric, (np.nan, np.nan))[1],
        "seed": 4,
    }
    return row | other


def metric_rows(classes: list[str], rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for (metric, extractor), (value, floor, _, half, by_class) in MEASURED.items():
        rows.append(metric_row(metric, extractor))
        for class_name in classes if by_class else []:
            here = value + 0.3 * (value - floor) * rng.uniform(-1, 1)
            ends = {"value": here, "low": here - half, "high": here + half}
            rows.append(metric_row(metric, extractor, class_name, **ends))
    return pd.DataFrame(rows)


def summary_rows(
    classes: list[str],
    differences: dict[str, tuple[float, float, float]],
    primary: str,
    p: float = 0.4,
    p_holm: float = 0.8,
) -> pd.DataFrame:
    """SUMMARY in which every measure of an arm differs from `real` by the given interval.

    The primary comparison is significant where its interval excludes 0, no class ever is.
    """
    rows = []
    for number, (metric, name) in enumerate(
        [("auroc", name) for name in [*classes, "macro"]]
        + [("auprc", name) for name in [*classes, "macro"]]
        + [(name, "macro") for name in ("balanced_accuracy", "brier", "calibration_error")]
    ):
        base = 0.84 + 0.02 * (number % 5)
        for arm, (value, low, high) in {"real": (np.nan,) * 3, **differences}.items():
            centre = base + np.nan_to_num(value)
            rows.append(
                {
                    "metric": metric,
                    "class_name": name,
                    "arm": arm,
                    "primary": (metric, name, arm) == ("auroc", "macro", primary),
                    "n_images": 180,
                    "n_patients": 92,
                    "positives": 180 if name == "macro" else 30,
                    "positive_patients": 92 if name == "macro" else 25,
                    "fewest_patients": 25,
                    "seeds": 3,
                    "value": centre,
                    "low": centre - 0.03,
                    "high": centre + 0.03,
                    "seed_sd": 0.004,
                    "difference": value,
                    "difference_low": low,
                    "difference_high": high,
                    "difference_seed_sd": np.nan if np.isnan(value) else 0.003,
                    "p_value": np.nan if np.isnan(value) else p,
                    "p_holm": np.nan if np.isnan(value) or name == "macro" else p_holm,
                    "significant": (metric, name, arm) == ("auroc", "macro", primary)
                    and bool(low > 0 or high < 0),
                    "delong_low": low - 0.001 if metric == "auroc" and name != "macro" else np.nan,
                    "delong_high": high + 0.001
                    if metric == "auroc" and name != "macro"
                    else np.nan,
                    "detectable": np.nan if np.isnan(value) else 0.021,
                    "resamples": 2000,
                }
            )
    return pd.DataFrame(rows)


def subgroup_rows(arms: list[str]) -> pd.DataFrame:
    rows = []
    for attribute, groups in (("view", ("AP", "PA", "gap")), ("sex", ("F", "M", "gap"))):
        for arm, group in product(arms, groups):
            value = 0.041 if group == "gap" else 0.86 + 0.01 * len(rows)
            rows.append(
                {
                    "arm": arm,
                    "attribute": attribute,
                    "group": group,
                    "n_images": 90,
                    "n_patients": 46,
                    "classes": 5,
                    "value": value,
                    "low": value - 0.05,
                    "high": value + 0.05,
                    "difference": np.nan if arm == "real" else 0.0061,
                    "difference_low": np.nan if arm == "real" else -0.0172,
                    "difference_high": np.nan if arm == "real" else 0.0293,
                }
            )
    return pd.DataFrame(rows)


def arm_files(folder: Path, arm: str, classes: list[str], synthetic: int) -> tuple[str, str]:
    """Write what composing an arm and proving its separation say."""
    facts = {
        "without_copies": synthetic > 0,
        "synthetic": dict.fromkeys(classes, synthetic),
        "removed": {name: {"images": 2, "unaudited": 0, "domain": 2} for name in classes}
        if synthetic
        else {},
    }
    proof = {
        "held_out": {
            "val": {"images": 71, "patients": 36},
            "test": {"images": 180, "patients": 92},
        },
        "statements": [
            {
                "statement": "Every real image of the arm is of the training split",
                "rests_on": ["images.parquet"],
                "counts": {"images": 431, "patients": 209},
            }
        ],
        "limits": ["Validation images chose the average."] if synthetic else [],
    }
    paths = folder / f"arms/{arm}.json", folder / f"separation/{arm}.json"
    for path, content in zip(paths, (facts, proof), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return str(paths[0]), str(paths[1])


# Of all classes, by reader: (value, low, high) of each measure; a reader may lack one.
READERS = {
    "A": {"answered": (1.0,) * 3, "accuracy": (0.717, 0.586, 0.825), "d_prime": (1.13, 0.45, 1.81)}
    | {"finding_accuracy_real": (0.633, 0.439, 0.801)}
    | {"finding_accuracy_synthetic": (0.467, 0.283, 0.657)},
    "B<i>": {"answered": (0.5,) * 3, "finding_accuracy_real": (0.533, 0.343, 0.717)},
    "all readers": {"answered": (0.75,) * 3, "accuracy": (0.683, 0.541, 0.804)}
    | {"agreement_finding": (0.412, 0.287, 0.538)},
}


def score_rows(class_name: str) -> pd.DataFrame:
    """READER_SCORES as READERS has them."""
    rows = [
        {"reader": reader, "measure": measure, "class_name": class_name, "n": 60, "value": value}
        | {"low": low, "high": high, "interval": "Clopper–Pearson 95 %", "chance": 0.5}
        for reader, measures in READERS.items()
        for measure, (value, low, high) in measures.items()
    ]
    return pd.DataFrame(rows)


DIFFERENCES = {"real+0.25": (-0.002, -0.020, 0.016), "real+0.5": (0.004, -0.012, 0.020)}


@pytest.fixture(scope="session")
def defaults(root: Path) -> dict:
    config = yaml.safe_load((root / "config.yaml").read_text())
    config["studies"]["augmentation"]["primary"] = {"arm": "real+0.5", "metric": "auroc"}
    return load(config)


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory: pytest.TempPathFactory, defaults: dict) -> dict:
    """Artefacts of a run whose data set and last class carry a script, by what they are."""
    folder = tmp_path_factory.mktemp("results")
    classes = [*defaults["cohort"]["classes"][:-1], HOSTILE]
    config = defaults | {
        "nih_dir": "/home/somebody/films",
        "dataset": defaults["dataset"] | {"name": "phantom<img src=x>"},
        "cohort": {"classes": classes, "labels": "single"},
        "readers": {"blinded": defaults["readers"]["blinded"] | {"responses": "/home/somebody/b"}},
    }
    return {"config": config, **write_artefacts(folder, config)}


def write_artefacts(folder: Path, config: dict) -> dict:
    """Write every artefact that the report of `config` reads, and return the step's arguments."""
    rng = np.random.default_rng(5)
    classes = config["cohort"]["classes"]
    weights = rng.permutation([0.4, 0.16, 0.12, 0.14, 0.06, 0.12][: len(classes)])
    patients = pd.DataFrame({"patient_id": [f"{number:05d}" for number in range(300)]})
    patients["class_id"] = rng.choice(len(classes), len(patients), p=weights / weights.sum())
    patients["split"] = rng.choice(schemas.SPLITS, len(patients), p=[0.7, 0.12, 0.18])
    images = patients.loc[rng.integers(0, 300, 640)].reset_index(drop=True)
    images["image_id"] = [f"{number:06d}.png" for number in range(len(images))]
    images["class_name"] = [classes[number] for number in images["class_id"]]
    images["findings"] = images["class_name"]
    images["age_years"] = rng.integers(18, 90, len(images)).astype(float)
    images["sex"] = rng.choice(["F", "M"], len(images))
    images["view"] = "PA"
    images["shard"] = "images_001"
    images["row"] = np.arange(len(images))

    cohort = images.drop(columns=["split", "shard", "row"])
    unmatched = images[["image_id"]].tail(2).assign(found_in="table", reason="in no archive")
    images = images.iloc[:-2]
    excluded = pd.DataFrame(
        {
            "image_id": [f"x{number:04d}.png" for number in range(310)],
            "patient_id": [f"{number:05d}" for number in rng.integers(0, 340, 310)],
            "reason": ["several findings"] * 220 + ["finding not configured"] * 90,
            "detail": ["Effusion|Atelectasis", "Cardiomegaly|Effusion"] * 110
            + ["Infiltration", "Mass", "Nodule"] * 30,
        }
    )
    columns = ["image_id", "patient_id", "age_years", "sex", "view"]
    labels = pd.concat([cohort[columns], excluded[columns[:2]]])
    issues = pd.DataFrame(
        {"image_id": ["000003.png"], "column": ["age"], "value": ["414"]}
        | {"reason": ["age above 120 years: left empty"]}
    )
    rejects = pd.DataFrame(
        {"archive": ["images_001"], "member": ["images/bad<b>.png"]}
        | {"image_id": ["bad<b>.png"], "reason": ["truncated"]}
    )

    data = Data(
        labels=str(folder / "labels.parquet"),
        label_issues=str(folder / "label_issues.parquet"),
        cohort=str(folder / "cohort.parquet"),
        exclusions=str(folder / "exclusions.parquet"),
        images=str(folder / "images.parquet"),
        unmatched=str(folder / "unmatched.parquet"),
        rejects=[str(folder / "images_001.rejects.parquet")],
        shards=[str(folder / "images_001.npy")],
    )
    write_table(labels, data.labels, schemas.LABELS)
    write_table(issues, data.label_issues, schemas.LABEL_ISSUES)
    write_table(cohort, data.cohort, schemas.COHORT)
    write_table(excluded, data.exclusions, schemas.EXCLUSIONS)
    write_table(images, data.images, schemas.IMAGES)
    write_table(unmatched, data.unmatched, schemas.UNMATCHED)
    write_table(rejects, data.rejects[0], schemas.REJECTS)
    kinds = [chests(20, class_id, rng, 0) for class_id in range(len(classes))]
    films = [kinds[class_id][row % 20][None] for row, class_id in enumerate(images["class_id"])]
    np.save(data.shards[0], np.concatenate(films))

    models, samples, studies = {}, {}, {}
    for name in sorted(config["models"]):
        here = folder / "models" / name
        models[name] = Model(
            training_log=str(here / "training_log.parquet"),
            loss_curve=str(here / "loss_curve.png"),
            forward_strip=str(here / "forward_strip.png"),
        )
        steps = np.arange(10, 1101, 10)
        log = pd.DataFrame({"step": steps, "images": steps * 32, "loss": 0.4 / steps**0.3})
        log = log.assign(validation_loss=log["loss"], learning_rate=1e-3, gradient_norm=0.5)
        write_table(log, models[name].training_log, schemas.TRAINING_LOG)
        curve(here / "loss_curve.png", "loss")
        strip(here / "forward_strip.png", films[0][0], rng)

        for sampler in sorted(config["samplers"]):
            here = folder / "samples" / name / sampler
            judged = folder / "evaluate" / name / sampler
            parts = []
            for class_id, class_name in enumerate(classes):
                shard = f"class{class_id}_000"
                (here / shard[:-4]).mkdir(parents=True)
                np.save(here / shard[:-4] / f"{shard}.npy", chests(10, class_id, rng, 6))
                part = pd.DataFrame({"row": np.arange(10), "seed": np.arange(10)})
                part["image_id"] = [f"{shard}_{row}" for row in part["row"]]
                part = part.assign(shard=shard, class_id=class_id, class_name=class_name)
                parts.append(part)
            samples[name, sampler] = Samples(
                samples=str(here / "samples.parquet"),
                shards=[str(path) for path in sorted(here.glob("*/*.npy"))],
                denoising_strip=str(here / "denoising_strip.png"),
                metrics=str(judged / "metrics.parquet"),
                confusion=str(judged / "confusion.png"),
                physics=str(judged / "physics.png"),
                closest=str(judged / "closest.png"),
            )
            files = samples[name, sampler]
            write_table(pd.concat(parts), files.samples, schemas.SAMPLES)
            strip(here / "denoising_strip.png", films[1][0], rng)
            write_table(metric_rows(classes, rng), files.metrics, schemas.METRICS)
            curve(judged / "confusion.png", "confusion")
            curve(judged / "physics.png", "loss")
            strip(judged / "closest.png", films[2][0], rng)

    for name in sorted(config["studies"]):
        here = folder / "study" / name
        arms = ["real", *DIFFERENCES]
        said = [arm_files(here, arm, classes, 20 * (arm != "real")) for arm in arms]
        studies[name] = Study(
            summary=str(here / "summary.parquet"),
            subgroups=str(here / "subgroups.parquet"),
            forest=str(here / "forest.png"),
            ratios=str(here / "ratios.png"),
            calibration=str(here / "calibration.png"),
            removed=[path for path, _ in said],
            separation=[path for _, path in said],
        )
        summary = summary_rows(classes, DIFFERENCES, "real+0.5")
        write_table(summary, studies[name].summary, schemas.SUMMARY)
        write_table(subgroup_rows(arms), studies[name].subgroups, schemas.SUBGROUPS)
        for figure in ("forest", "ratios", "calibration"):
            curve(here / f"{figure}.png", "forest")
    answered = [name for name, study in config["readers"].items() if study["responses"]]
    readers = {
        name: Readers(
            scores=str(folder / "readers" / name / "scores.parquet"),
            figure=str(folder / "readers" / name / "scores.png"),
        )
        for name in answered
    }
    for files in readers.values():
        curve(Path(files.figure), "forest")
        scores = pd.concat([score_rows(schemas.POOLED), score_rows(classes[0]).assign(value=0.999)])
        write_table(scores, files.scores, schemas.READER_SCORES)
    return {
        "data": data,
        "models": models,
        "samples": samples,
        "studies": studies,
        "readers": readers,
        "applications": {},
    }


@pytest.fixture(scope="session")
def html(stand_ins: dict, root: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "index.html"
    render(path, root, **stand_ins)
    return path.read_text(encoding="utf-8")


def render(path: Path, root: Path, **arguments) -> None:
    resources = root / "resources" / "report"
    render_report(
        path, **arguments, template=resources / "page.html.j2", style=resources / "style.css"
    )


class Page(HTMLParser):
    """What a browser would see: every tag with its attributes, every text, every link."""

    VOID = frozenset({"meta", "img", "br", "link", "line", "circle", "rect", "path"})

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.texts, self.open, self.crossed = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if self.open.pop() != tag:
            self.crossed.append(tag)

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))


# -- the page


def test_page_is_well_formed_and_fetches_nothing(html: str):
    page = Page(html)
    assert not page.crossed and not page.open
    assert "script" not in {tag for tag, _ in page.tags}
    attributes = [pair for _, found in page.tags for pair in found.items()]
    addresses = [value for name, value in attributes if name in ("src", "href", "srcset")]
    assert addresses
    assert all(value.startswith(("data:image/webp;base64,", "#")) for value in addresses)
    assert not [name for name, _ in attributes if name.startswith("on")]
    assert "url(" not in html and "@import" not in html
    assert len(html) < 3_000_000


def test_every_link_inside_the_page_leads_somewhere(html: str):
    tags = Page(html).tags
    anchors = {found["id"] for _, found in tags if "id" in found}
    assert {found["href"][1:] for tag, found in tags if tag == "a"} <= anchors


def test_names_from_outside_are_text_and_not_markup(html: str):
    page = Page(html)
    assert HOSTILE in page.text
    assert "phantom<img src=x>" in page.text
    assert "images/bad<b>.png" in page.text
    assert html.count("<script") == 0


def test_page_holds_no_folder_of_this_machine(html: str, stand_ins: dict, root: Path):
    assert "/home/somebody" not in html
    assert "…/films" in html
    assert str(Path(stand_ins["data"].labels).parent) not in html
    assert str(root) not in html


def test_page_says_what_came_out(html: str):
    text = Page(html).text
    assert "procedural phantom images, not patients" in text
    assert "No evidence of a gain" in text
    assert "+0.004 (−0.012 to +0.020)" in text
    assert "180 real test images of 92 subjects" in text
    assert "Subjects shared between splits: 0" in text
    assert "age above 120 years: left empty" in text


def test_same_artefacts_give_the_same_page(html: str, stand_ins: dict, root: Path, tmp_path: Path):
    render(tmp_path / "again.html", root, **stand_ins)
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == html


def test_page_of_several_models_and_no_study(defaults: dict, root: Path, tmp_path: Path):
    config = defaults | {
        "dataset": defaults["dataset"] | {"kind": "nih", "name": "nih"},
        "cohort": {"classes": ["No Finding", "Effusion"], "labels": "single"},
        "models": dict.fromkeys(("b", "a"), defaults["models"]["recommended"]),
        "samplers": dict.fromkeys(("y", "x"), defaults["samplers"]["dpm20"]),
        "studies": {},
    }
    render(tmp_path / "page.html", root, config=config, **write_artefacts(tmp_path, config))
    text = Page((tmp_path / "page.html").read_text(encoding="utf-8")).text
    assert "No study was configured" in text
    assert "not patients" not in text
    assert "mined from radiology reports" in text
    assert "Wang X, Peng Y" in text


def test_page_says_what_models_were_told_and_samplers_asked_for(
    defaults: dict, root: Path, tmp_path: Path
):
    sampler = defaults["samplers"]["dpm20"] | {
        "spacing": "karras",
        "sigma_max": 20.0,
        "guided": ["finding"],
        "guidance_interval": [0.2, 5.0],
        "condition": {"view": "AP", "findings": ["Effusion"]},
    }
    early = defaults["samplers"]["dpm20"] | {
        "spacing": "auto",
        "autoguidance": "early",
        "guidance": 1.5,
    }
    config = defaults | {
        "cohort": {"classes": ["No Finding", "Effusion"], "labels": "multi"},
        "models": {
            "small": defaults["models"]["recommended"] | {"conditions": ["finding", "view"]}
        },
        "samplers": {"early": early, "narrow": sampler},
        "studies": {},
    }
    render(tmp_path / "page.html", root, config=config, **write_artefacts(tmp_path, config))
    text = Page((tmp_path / "page.html").read_text(encoding="utf-8")).text
    assert "told finding, view" in text
    narrow = (
        "dpm++2m, 20 steps, spacing karras, σ/α to 20, guidance 2 of finding where σ/α is above "
        "0.2 and at most 5"
    )
    assert text.count(narrow) == 2
    assert text.count("dpm++2m, 20 steps, guidance 1.5 by a worse model (early)") == 2
    assert "Asked for beside the class: view AP, findings Effusion." in text
    assert text.count("asked for further findings (Effusion)") == 1, "of one of two samplers"
    assert "one or more of 2 classes each" in text
    assert "The generators learnt from images with several findings too" in text


def table_rows(html: str) -> list[list[str]]:
    """Return the cells' texts of every row of every table of a page."""
    return [
        [Page(cell).text.strip() for cell in re.findall(r"<t[hd][^>]*>.*?</t[hd]>", row, re.S)]
        for row in re.findall(r"<tr[ >].*?</tr>", html, re.S)
    ]


def test_every_number_of_the_measures_stands_on_the_page(html: str, stand_ins: dict):
    metrics = pd.read_parquet(next(iter(stand_ins["samples"].values())).metrics)
    rows = [" | ".join(cells) for cells in table_rows(html)]
    for row in metrics.to_dict("records"):
        pooled = row["class_name"] == "pooled"
        printed = [
            written(row["metric"], row[key]) for key in ("value", "low", "high", "floor", "ceiling")
        ]
        wanted = [row["name"] if pooled else row["class_name"], *printed, f"{row['n']}"]
        if np.isnan(row["low"]):
            wanted = [word for word in wanted if word != "–"] + ["no interval"]
        if not pooled:
            wanted.append(written(row["metric"], row["train"]))
        wanted = [word.replace("\u00a0", " ") for word in wanted]
        assert any(all(word in text for word in wanted) for text in rows), row


def test_every_number_of_the_study_stands_on_the_page(html: str, stand_ins: dict):
    files = next(iter(stand_ins["studies"].values()))
    rows = [" | ".join(cells) for cells in table_rows(html)]
    summary = pd.read_parquet(files.summary)
    paired = summary[(summary["metric"] == "auroc") & (summary["arm"] != "real")]
    for row in paired.to_dict("records"):
        name = "Mean of classes" if row["class_name"] == "macro" else row["class_name"]
        span = signed_span(row["difference_low"], row["difference_high"])
        p = row["p_value"] if row["primary"] else row["p_holm"]
        wanted = [name, fixed(row["value"]), signed(row["difference"]), span, fixed(p), "0.021"]
        assert any(all(word in text for word in wanted) for text in rows), row
    for row in pd.read_parquet(files.subgroups).to_dict("records"):
        group = "Largest gap" if row["group"] == "gap" else row["group"]
        wanted = [group, fixed(row["value"]), fixed(row["low"]), signed(row["difference"])]
        wanted = [word for word in wanted if word != "–"]
        assert any(all(word in text for word in wanted) for text in rows), row


def test_the_scores_of_readers_stand_on_the_page_where_there_are_some(
    html: str, defaults: dict, stand_ins: dict, root: Path, tmp_path: Path
):
    rows = [row for row in table_rows(html) if row and row[0] in READERS]
    assert [row[0] for row in rows] == list(READERS)
    shown = ("accuracy", "d_prime", "finding_accuracy_real", "finding_accuracy_synthetic")
    for row in rows:
        for cell, measure in zip(row[1:5], shown, strict=True):
            value, low, high = READERS[row[0]].get(measure, (None,) * 3)
            assert cell.startswith(fixed(value, 2))
            if value is not None:
                assert f"{fixed(low, 2)} to {fixed(high, 2)}" in cell
    text = Page(html).text
    assert "class 0.41 (0.29 to 0.54)." in text
    assert "Can people tell?" in text
    assert "readers/<study>/scores.parquet" in text

    config = stand_ins["config"] | {"readers": defaults["readers"]}
    path = tmp_path / "index.html"
    render(path, root, **stand_ins | {"config": config, "readers": {}})
    assert "Can people tell?" not in path.read_text()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"method": "official"}, "official lists"),
        ({"method": "folds", "fold": 1, "folds": 5}, "fold 1 of 5, counted from 0"),
        ({"method": "hash"}, "hash, 0.8 / 0.1 / 0.1"),
    ],
)
def test_the_split_is_said_as_it_was_made(defaults: dict, settings: dict, expected: str):
    assert sections.split_words(defaults["split"] | settings) == expected


def test_page_says_what_was_left_out_and_what_was_proved(html: str):
    text = Page(html).text
    assert "real+0.25, real+0.5: left out as copies of training images: 12 synthetic images" in text
    assert (
        "no validation or test subject, of 36 and 92, is among the images that the study’s 3 arms"
        in text
    )
    assert "real: 431 images, 209 subjects; real+0.25: 431 images, 209 subjects" in text
    assert text.count("Validation images chose the average.") == 1
    assert "Shows real training images." in text


def test_published_names_are_those_of_published_weights_alone(html: str):
    names = [row[0] for row in table_rows(html) if row]
    assert sum(name.startswith("FID ") for name in names) == 1
    assert sum(name.startswith("Fréchet distance Distance") for name in names) == 1
    assert sum(name.startswith("KID ") for name in names) >= 1


def bold(html: str) -> list[str]:
    """Return what is bold in the answer and in the study."""
    answer = html[html.index('class="answer"') : html.index('class="cards"')]
    study = html[html.index('<section id="study"') : html.index('<section id="limits"')]
    found = re.findall(r"<(?:b|strong)[ >][^<]*", answer + study)
    return [text.split(">")[1] for text in found] + ["headline"] * ('"headline sure"' in html)


def test_nothing_is_bold_without_significance(html: str):
    assert bold(html) == []
    assert "No evidence of a gain" in html


def test_what_is_significant_after_holm_is_bold(stand_ins: dict, root: Path, tmp_path: Path):
    files = next(iter(stand_ins["studies"].values()))
    classes = stand_ins["config"]["cohort"]["classes"]
    summary = summary_rows(
        classes, {"real+0.25": (0.03, 0.01, 0.05), "real+0.5": (0.02, 0.004, 0.036)}, "real+0.5"
    )
    small = summary["arm"] == "real+0.5"
    first = small & (summary["class_name"] == classes[0])
    summary.loc[first, "p_holm"] = 0.0004
    summary.loc[first & (summary["metric"] == "auroc"), "significant"] = True
    path = tmp_path / "summary.parquet"
    write_table(summary, path, schemas.SUMMARY)
    study = {"augmentation": replace(files, summary=str(path))}
    render(tmp_path / "page.html", root, **(stand_ins | {"studies": study}))
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert bold(html) == ["+0.020"] * 3 + ["headline"], "answer, mean of classes, first class"
    assert "&lt; 0.001" in html


@pytest.mark.parametrize(
    ("arm", "change", "verdict"),
    [
        ("real+0.5", {"significant": True}, "significant"),
        ("real+0.5", {"p_holm": 0.001, "p_value": 0.001}, "not significant"),
        ("real+0.5", {"fewest_patients": 19}, "too few subjects to tell"),
        ("real+0.25", {"p_holm": 0.001, "p_value": 0.001}, "secondary"),
    ],
)
def test_a_difference_is_significant_where_the_study_says_so(arm, change, verdict, defaults):
    summary = summary_rows(["A"], {arm: (0.03, 0.01, 0.05)}, "")
    row = summary[(summary["arm"] == arm) & (summary["class_name"] == "A")].iloc[0].to_dict()
    shown = difference(row | change, defaults["studies"]["augmentation"], (-0.1, 0.1))
    sure = change.get("significant", False)
    assert shown["significant"] == sure
    assert shown["finding"] == ("gain" if sure else "none")
    assert shown["label"].startswith(f"+0.030 (+0.010 to +0.050), {verdict}")
    assert shown["at"]["value"] == 65


def test_probabilities_are_never_printed_as_zero():
    assert [probability(p) for p in (0.0, 0.0009, 0.012, 1.0, np.nan)] == [
        "< 0.001",
        "< 0.001",
        "0.012",
        "1.000",
        "–",
    ]


def test_copies_that_stayed_are_said_to_have_stayed():
    facts = {"without_copies": False, "synthetic": {"A": 3}, "removed": {}}
    assert "were not left out" in left_out(facts)
    removed = {"A": {"images": 3, "unaudited": 1}, "B": {"images": 0, "unaudited": 0}}
    assert left_out(facts | {"without_copies": True, "removed": removed}) == (
        "left out as copies of training images: 3 synthetic images (A 3), of them 1 that were not "
        "looked at"
    )


# -- what a value means


def test_every_measure_has_a_family_and_a_meaning():
    listed = [metric for _, metrics in FAMILIES.values() for metric in metrics]
    assert sorted(listed) == sorted(FORMULAS) == sorted(MEANINGS)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "5 % of the way from other real images to noise (4 % to 6 %)."),
        ({"low": 0.005}, "Cannot be told from other real images; at worst 6 % of the way"),
        ({"low": 0.02}, "real images to noise (less than 1 % to 6 %)."),
        ({"ceiling": 1e6}, "Worse than other real images, by less than 1 % of the way to noise."),
        ({"low": -0.1, "high": -0.05}, "are nearer to the test images than other real images"),
        ({"low": np.nan, "high": np.nan}, "without an interval nothing follows from it."),
        ({"low": 0.1, "high": 5}, "cannot be told from noise."),
        ({"low": 4.1, "high": 6}, "Fails: as far from other real images as noise, or farther."),
        ({"low": -1, "high": 5}, "holds both other real images and noise: it decides nothing"),
        ({"ceiling": 0.005}, "Noise does no worse than other real images here"),
        ({"ceiling": 0.0108}, "Noise does no worse than other real images here"),
        ({"value": 9.0, "low": np.nan, "high": np.nan}, "outside the way from floor to ceiling"),
    ],
)
def test_a_sentence_claims_what_the_interval_carries(change: dict, expected: str):
    text = verdict(metric_row("kernel_distance") | change).replace("\u00a0", " ")
    assert expected.lower() in text.lower()
    if "cannot be told from other" in expected.lower() or "an interval nothing" in expected:
        assert "nearer" not in text


@pytest.mark.parametrize(
    ("metric", "extractor", "change", "expected"),
    [
        ("precision", "domain", {"value": 0.9, "low": 0.85, "high": 0.95}, "more often than other"),
        ("class_accuracy", "domain", {}, "31 % of the way from other real images to chance"),
        (
            "classification_accuracy_score",
            "domain",
            {},
            "way from training on real images to chance",
        ),
        ("msssim_diversity", "pixels", {"value": 1.4, "low": 1.3, "high": 1.5}, "differ more than"),
        ("sharpness_ratio", "pixels", {}, "(4 % to 7 %), smoother than real images"),
        ("sharpness_ratio", "pixels", {"value": 2, "low": 1.8, "high": 2.2}, "sharper than real"),
        ("sharpness_ratio", "pixels", {"low": 0.7, "high": 1.1}, "at worst 16 % of the way"),
        ("memorised_fraction", "domain", {}, "No more than chance explains"),
        ("memorised_fraction", "pixels", {}, "More than chance explains"),
        ("memorised_fraction", "domain", {"value": 0.02}, "but the interval holds it"),
        ("memorised_fraction", "domain", {}, "planted on purpose 100.0 % are found."),
        ("memorised_fraction", "domain", {"ceiling": 0.9}, "90.0 % are found: some copies go"),
        ("memorised_fraction", "domain", {"low": np.nan}, "without an interval nothing follows"),
        (
            "memorised_fraction",
            "domain",
            {"ceiling": 0.4},
            "This space cannot see copies, so nothing",
        ),
        (
            "memorised_fraction",
            "pixels",
            {"ceiling": 0.6, "expected_high": 0.6},
            "so nothing follows: of copies planted on purpose 60.0 % are found",
        ),
        ("closer_to_train", "domain", {}, "They lean neither way: 50.0 % is expected"),
        ("closer_to_train", "pixels", {}, "They lean towards training images"),
        ("closer_to_train", "pixels", {"high": 0.49, "low": 0.4}, "They lean away from training"),
        ("closer_to_train", "domain", {"expected": 0.4}, "towards training images: 40.0 % is"),
        ("closer_to_train", "domain", {"ceiling": 0.55}, "cannot see copies, so nothing follows"),
    ],
)
def test_measures_of_other_kinds_are_said_in_their_own_words(metric, extractor, change, expected):
    text = verdict(metric_row(metric, extractor) | change).replace("\u00a0", " ")
    assert expected.lower() in text.lower()


@given(
    st.sampled_from(sorted(MEASURED)),
    st.lists(st.floats(0.001, 50), min_size=3, max_size=3).map(sorted),
)
def test_words_agree_with_the_interval(measured, ends):
    low, value, high = ends
    row = metric_row(*measured, low=low, value=value, high=high)
    if row["metric"] in ("memorised_fraction", "closer_to_train"):
        return
    text, found = verdict(row).lower(), way(row)
    holds_floor = low <= row["floor"] <= high
    if holds_floor:
        assert "cannot be told from" in text or "decides nothing" in text
    assert holds_floor == (found.low <= 0 <= found.high)
    shown = bar(found)
    assert all(0 <= shown[end] <= 100 for end in ("value", "low", "high"))
    assert (shown["outside"] is None) == (0 <= found.value <= 1)


def test_values_beyond_the_ends_are_put_there_and_marked():
    beyond = {"kernel_distance": (5.0, "right"), "precision": (0.9, "left")}
    for metric, (value, end) in beyond.items():
        shown = bar(way(metric_row(metric, value=value, low=np.nan, high=np.nan)))
        assert (shown["outside"], shown["value"]) == (end, 100 if end == "right" else 0)
        assert shown["low"] is None
    assert bar(way(metric_row("kernel_distance", ceiling=0.0))) is None


def test_measures_stand_by_family_and_feature_space():
    table = metric_rows(["A", "B"], np.random.default_rng(0))
    found = families(table, ["A", "B"])
    assert [family["key"] for family in found] == list(FAMILIES)
    spaces = [group["title"] for group in found[0]["pooled"]]
    assert spaces == ["our own classifier", "Inception"]
    assert [row["class_name"] for row in found[0]["by_class"][0]["rows"]] == ["A", "B"]
    shown = sum(
        len(group["rows"]) for family in found for group in [*family["pooled"], *family["by_class"]]
    )
    assert shown == len(table)
    assert families(table[table["metric"] == "recall"], ["A", "B"])[0]["key"] == "distribution"


def test_files_find_their_model_and_sampler(defaults: dict):
    config = defaults | {
        "models": {"b": {}, "a": {}},
        "samplers": {"y": {}, "x": {}},
        "studies": {"t": {}, "s": {}},
    }
    pairs = [(model, sampler) for model in "ab" for sampler in "xy"]
    given = InputFiles(
        fromdict={field.name: field.name for field in fields(Data)}
        | {field.name: [f"{m}/{field.name}" for m in "ab"] for field in fields(Model)}
        | {
            name: [f"{m}/{s}/{name}" for m, s in pairs]
            for name in ("samples", "denoising_strip", "metrics")
        }
        | {
            name: [f"{m}/{s}/{name}" for m, s in pairs]
            for name in ("confusion", "physics", "closest")
        }
        | {"sample_shards": [f"{m}/{s}/effusion/effusion_000.npy" for m, s in pairs]}
        | {
            name: [f"{study}/{name}" for study in "st"]
            for name in ("summary", "subgroups", "forest", "ratios", "calibration")
        }
        | {
            name: [f"study/{study}/arms/{arm}.json" for study in "st" for arm in "pq"]
            for name in ("removed", "separation")
        }
        | {
            "scores": ["readers/one/scores.parquet", "readers/two/scores.parquet"],
            "scores_figure": ["one.png", "two.png"],
        }
        | {"denoising": [], "inpainting": [], "superresolution": []}
        | {"anomaly": ["anomaly/a/summary.parquet", "anomaly/a/sweep.png"]}
    )
    found = files_of(given, config)
    assert list(found["models"]) == ["a", "b"]
    assert found["models"]["b"].loss_curve == "b/loss_curve"
    assert found["samples"]["a", "y"].metrics == "a/y/metrics"
    assert found["samples"]["b", "x"].shards == ["b/x/effusion/effusion_000.npy"]
    assert list(found["studies"]) == ["s", "t"]
    assert found["studies"]["t"].ratios == "t/ratios"
    assert found["studies"]["t"].removed == ["study/t/arms/p.json", "study/t/arms/q.json"]
    assert found["readers"]["two"] == Readers("readers/two/scores.parquet", "two.png")
    assert found["applications"]["denoising"] == {}
    assert found["applications"]["anomaly"]["a"][""]["sweep.png"] == "anomaly/a/sweep.png"


# -- the answer


@pytest.mark.parametrize(
    ("primary", "other", "expected"),
    [
        ((0.004, -0.012, 0.020), (0.03, 0.01, 0.05), "No evidence of a gain"),
        ((0.004, 0.001, 0.020), (0.03, -0.01, 0.05), "A gain"),
        ((-0.02, -0.03, -0.01), (0.03, 0.01, 0.05), "A loss"),
        ((np.nan, np.nan, np.nan), (0.03, 0.01, 0.05), "Too few test subjects to tell"),
    ],
)
def test_headline_speaks_of_the_primary_comparison(defaults, primary, other, expected):
    summary = summary_rows(["A", "B"], {"real+0.25": other, "real+0.5": primary}, "real+0.5")
    settings = defaults["studies"]["augmentation"]
    assert headline(comparisons(summary, settings)) == expected


def test_one_training_makes_no_gain(defaults):
    found = comparisons(
        summary_rows(["A"], {"real+0.5": (0.03, 0.01, 0.05)}, "real+0.5").assign(
            seeds=1, significant=False
        ),
        defaults["studies"]["augmentation"],
    )
    assert headline(found) == "A difference of these classifiers; another training was not tried"


def test_figure_and_page_print_no_bound_as_zero_that_is_not():
    assert signed_span(0.0004, 0.02) == "+0.0004 to +0.0200"
    assert signed_span(-0.00003, 0.02) == "−0.00003 to +0.02000"
    assert signed_span(0.0, 0.02) == "0.000 to +0.020"
    assert signed_span(-0.01, 0.02) == "−0.010 to +0.020"
    assert signed_span(-1e-12, 0.02) == "0.000000 to +0.020000"


def test_paragraph_names_what_could_be_seen_and_the_secondary_comparison(defaults):
    settings, arms = defaults["studies"]["augmentation"], ["real", *DIFFERENCES]
    text = paragraph(
        summary_rows(["A", "B"], DIFFERENCES, "real+0.5"), settings, subgroup_rows(arms)
    )
    assert "Primary comparison (real+0.5, 0.5 synthetic images per real one): no evidence" in text
    assert "Secondary comparison: real+0.25 −0.002 (−0.020 to +0.016)" in text
    assert "could have shown a gain of 0.021" in text
    assert "another seed moves the difference by 0.003 (standard deviation over 3 seeds)" in text


def test_a_reference_at_its_ceiling_is_said_to_be(defaults):
    settings = defaults["studies"]["augmentation"]
    summary = summary_rows(["A", "B"], DIFFERENCES, "real+0.5")
    none = subgroup_rows(["real"]).head(0)
    assert "ceiling" not in paragraph(summary, settings, none)
    assert "That is its ceiling" in paragraph(summary.assign(value=0.999), settings, none)


def test_an_interval_on_too_few_patients_claims_nothing(defaults):
    settings, none = defaults["studies"]["augmentation"], subgroup_rows(["real"]).head(0)
    summary = summary_rows(["A"], {"real+0.5": (0.03, 0.01, 0.05)}, "real+0.5").assign(
        fewest_patients=19, significant=False
    )
    assert headline(comparisons(summary, settings)) == "Too few test subjects to tell"
    assert "a gain of +" not in paragraph(summary, settings, none)


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1), st.booleans(), st.booleans())
def test_a_gain_is_claimed_only_where_it_is_significant(a, b, c, significant, enough):
    low, middle, high = sorted((a, b, c))
    item = Comparison("arm", 1, middle, low, high, significant=significant, enough=enough)
    told = significant and enough
    assert ("a gain of" in item.sentence.replace("evidence of a gain", "")) == (told and middle > 0)
    assert ("a loss of" in item.sentence) == (told and middle <= 0)


# -- numbers and tables


def test_numbers_read_well():
    assert fixed(-0.0123) == "−0.012"
    assert signed(0.0123) == "+0.012"
    assert signed(-0.0001) == "0.000"
    assert signed(float("nan")) == fixed(None) == "–"
    assert (short(0.00123), short(31.25), short(1234.5)) == ("0.00123", "31.2", "1234")


@given(st.floats(-1e4, 1e4))
def test_signed_numbers_keep_their_value_and_sign(value):
    text = signed(value)
    back = float(text.replace("−", "-"))
    assert abs(back - value) <= 0.0005 + 1e-9
    assert text[0] == ("+" if back > 0 else "−" if back < 0 else "0")


def test_flow_adds_up(stand_ins: dict):
    data = stand_ins["data"]
    tables = [
        pd.read_parquet(path) for path in (data.labels, data.exclusions, data.cohort, data.images)
    ]
    flow = sections.flow(*tables)
    assert flow["labels"]["images"] == flow["excluded"]["images"] + flow["cohort"]["images"]
    assert flow["excluded"]["images"] == sum(row["images"] for row in flow["reasons"])
    assert flow["missing"]["images"] == 2
    assert flow["images"]["images"] == sum(row["images"] for row in flow["splits"])
    details = {name: number for row in flow["reasons"] for name, number in row["details"]}
    assert details["Infiltration"] == 30


def test_a_patient_in_two_splits_is_counted(stand_ins: dict):
    images = pd.read_parquet(stand_ins["data"].images)
    classes = stand_ins["config"]["cohort"]["classes"]
    assert sections.split_table(images, classes)["shared"] == 0
    patient = images["patient_id"].value_counts().index[0]
    first = images.index[images["patient_id"] == patient][0]
    images.loc[first, "split"] = "val" if images.loc[first, "split"] != "val" else "test"
    assert sections.split_table(images, classes)["shared"] == 1


def test_examples_are_test_images_of_different_patients_first():
    index = pd.DataFrame(
        {
            "class_id": [0] * 6 + [1],
            "patient_id": ["a", "a", "b", "c", "d", "e", "f"],
            "split": ["test", "test", "test", "train", "val", "train", "test"],
        }
    )
    chosen = examples(index, 0, 4)
    assert set(index["patient_id"].iloc[chosen[:2]]) == {"a", "b"}
    assert list(index["split"].iloc[chosen]) == ["test", "test", "test", "val"]
    assert len(examples(index, 0, 10)) == 6
    assert list(chosen) == list(examples(index, 0, 4))


def test_wide_pictures_are_reduced():
    shown = picture(Image.new("L", (4000, 1000), 128))
    assert (shown.width, shown.height) == (1600, 400)


def test_configuration_is_shown_in_the_order_of_the_file(root: Path):
    config = yaml.safe_load((root / "config.yaml").read_text())
    assert list(sections.shown_configuration(dict(sorted(config.items())))) == list(config)


def test_seeds_are_found_wherever_they_stand():
    settings = {"split": {"seed": 1}, "studies": {"s": {"seeds": [0, 1], "arms": {"seed": 7}}}}
    assert sections.seeds(settings) == [
        ("split.seed", 1),
        ("studies.s.seeds", [0, 1]),
        ("studies.s.arms.seed", 7),
    ]


def test_references_follow_the_configuration(defaults: dict):
    assert not any("ChestX-ray8" in text for text in references(defaults))
    assert any("DPM-Solver++" in text for text in references(defaults))
    nih = defaults | {"dataset": defaults["dataset"] | {"kind": "nih"}}
    assert "ChestX-ray8" in references(nih)[0]
    added = set(references(defaults)) - set(references(defaults | {"readers": {}}))
    names = ("Hautus", "Gourevitch", "Krippendorff", "Owen")
    assert all(any(name in text for text in added) for name in names)
    assert len(added) == len(names)


@pytest.mark.parametrize(
    ("model", "sampler", "cited"),
    [
        ({"process": "vp_sde"}, {}, {"Song Y", "Hoogeboom E"}),
        ({"process": "edm"}, {}, {"Elucidating"}),
        ({"schedule": "sigmoid"}, {}, {"Jabri A"}),
        ({"resolution_shift": True}, {}, {"Hoogeboom E"}),
        ({}, {"method": "edm"}, {"Elucidating"}),
        ({}, {"method": "heun"}, {"Elucidating"}),
        ({}, {"spacing": "karras"}, {"Elucidating"}),
        ({}, {"method": "ddim"}, {"Song J"}),
        ({}, {"method": "unipc"}, {"Zhao W"}),
        ({}, {"guidance_interval": [0.2, 3]}, {"Kynkäänniemi T"}),
        ({}, {"autoguidance": "early"}, {"Bad Version of Itself"}),
    ],
)
def test_a_method_is_cited_where_it_is_used(
    root: Path, model: dict, sampler: dict, cited: set[str]
):
    config = yaml.safe_load((root / "config.yaml").read_text())
    before = set(references(load(config)))
    config["models"]["recommended"]["diffusion"] = model
    config["samplers"]["dpm20"] |= sampler
    added = set(references(load(config))) - before
    assert len(added) == len(cited)
    assert all(any(name in text for text in added) for name in cited)
    assert any("Training Dynamics" in text for text in before), "of the average"


def test_a_commit_is_that_of_the_repository_itself(tmp_path: Path):
    assert commit(tmp_path) is None
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "file").write_text("a")
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    for arguments in (["add", "."], [*identity, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", tmp_path, *arguments], check=True)
    assert re.fullmatch("[0-9a-f]{12}", commit(tmp_path))
    assert commit(tmp_path / "inside") is None
    (tmp_path / "inside" / "file").write_text("b")
    assert commit(tmp_path).endswith("+")
