"""The report, rendered from small stand-ins of every artefact that it reads."""

import re
import subprocess
from dataclasses import fields
from html.parser import HTMLParser
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
from workflow_scripts.common.figures import ACCENT, plt, save_figure, tile
from workflow_scripts.common.numbers import fixed, short, signed
from workflow_scripts.common.references import references
from workflow_scripts.common.tables import write_table
from workflow_scripts.report import sections
from workflow_scripts.report.answer import Comparison, comparisons, headline, paragraph
from workflow_scripts.report.pictures import examples, picture
from workflow_scripts.report.provenance import commit
from workflow_scripts.report.render_report import (
    Data,
    Model,
    Samples,
    Study,
    files_of,
    render_report,
)

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


def curve(path: Path, kind: str) -> None:
    figure, axes = plt.subplots(figsize=(6, 3))
    x = np.arange(1, 60)
    if kind == "loss":
        axes.plot(x, 0.4 / x**0.5)
        axes.set(xlabel="step", ylabel="loss")
    elif kind == "forest":
        axes.errorbar([0.004, -0.002], [1, 0], xerr=0.016, fmt="o", color=ACCENT)
        axes.axvline(0)
    else:
        axes.imshow(np.eye(6) * 80 + 3, cmap="Blues")
    save_figure(figure, path)


def strip(path: Path, film: np.ndarray, rng: np.random.Generator) -> None:
    noise = rng.normal(128, 60, film.shape)
    steps = [np.clip(film * (1 - a) + noise * a, 0, 255) for a in np.linspace(0, 1, 8)]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(tile(np.array(steps, np.uint8), columns=8)).resize((2112, 256)).save(path)


def metric_rows(classes: list[str], rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    chance = {"memorised_fraction": (0.0083, 0.0194), "closer_to_train": (0.5, np.nan)}
    for metric, extractor, name, value, floor, spread in (
        ("frechet_distance", "domain", "Fréchet distance", 31.2, 9.8, 0),
        ("kernel_distance", "domain", "Kernel distance (MMD²)", 0.2, 0.01, 0.1),
        ("ssim_diversity", "pixels", "SSIM diversity", 0.9, 1.02, 0.08),
        ("class_accuracy", "domain", "Seen as the class asked for", 0.8, 0.9, 0.08),
        ("memorised_fraction", "domain", "Nearer …", 0.0148, 0.011, 0.001),
        ("closer_to_train", "domain", "Nearer to …", 0.5, 0.48, 0.02),
    ):
        for class_name in ["pooled", *(classes if spread else [])]:
            here = value + spread * rng.uniform(-1, 1) * (class_name != "pooled")
            n = 180 if class_name == "pooled" else 30
            rows.append(
                {
                    "metric": metric,
                    "name": name,
                    "extractor": extractor,
                    "weights_sha256": None if extractor == "pixels" else "0" * 64,
                    "class_name": class_name,
                    "n": n,
                    "n_reference": n,
                    "value": here,
                    "low": 0.9 * here if spread else np.nan,
                    "high": 1.1 * here if spread else np.nan,
                    "interval": "jackknife 95 %" if spread else "none",
                    "floor": floor,
                    "train": 0.7 * floor,
                    "expected": chance.get(metric, (np.nan, np.nan))[0],
                    "expected_high": chance.get(metric, (np.nan, np.nan))[1],
                    "seed": 4,
                }
            )
    return pd.DataFrame(rows)


def summary_rows(
    classes: list[str], differences: dict[str, tuple[float, float, float]], primary: str
) -> pd.DataFrame:
    """SUMMARY in which every measure of an arm differs from `real` by the given interval."""
    rows = []
    for number, (metric, name) in enumerate(
        [("auroc", name) for name in [*classes, "macro"]]
        + [("auprc", name) for name in [*classes, "macro"]]
        + [("balanced_accuracy", "macro")]
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
                    "positive_patients": 92 if name == "macro" else 17,
                    "seeds": 3,
                    "value": centre,
                    "low": centre - 0.03,
                    "high": centre + 0.03,
                    "seed_sd": 0.004,
                    "difference": value,
                    "difference_low": low,
                    "difference_high": high,
                    "difference_seed_sd": np.nan if np.isnan(value) else 0.003,
                    "resamples": 2000,
                }
            )
    return pd.DataFrame(rows)


DIFFERENCES = {"real+0.25": (-0.002, -0.020, 0.016), "real+0.5": (0.004, -0.012, 0.020)}


@pytest.fixture(scope="session")
def defaults(root: Path) -> dict:
    config = yaml.safe_load((root / "config.yaml").read_text())
    config["studies"]["augmentation"]["primary"] = {"arm": "real+0.5", "metric": "auroc"}
    return config


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory: pytest.TempPathFactory, defaults: dict) -> dict:
    """Artefacts of a run whose data set and last class carry a script, by what they are."""
    folder = tmp_path_factory.mktemp("results")
    classes = [*defaults["cohort"]["classes"][:-1], HOSTILE]
    config = defaults | {
        "nih_dir": "/home/somebody/films",
        "dataset": defaults["dataset"] | {"name": "phantom<img src=x>"},
        "cohort": {"classes": classes, "labels": "single"},
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
    films = [chests(1, class_id, rng, 0) for class_id in images["class_id"]]
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
                confusion_figure=str(judged / "confusion.png"),
            )
            files = samples[name, sampler]
            write_table(pd.concat(parts), files.samples, schemas.SAMPLES)
            strip(here / "denoising_strip.png", films[1][0], rng)
            write_table(metric_rows(classes, rng), files.metrics, schemas.METRICS)
            curve(judged / "confusion.png", "confusion")

    for name in sorted(config["studies"]):
        here = folder / "study" / name
        studies[name] = Study(str(here / "summary.parquet"), str(here / "forest.png"))
        summary = summary_rows(classes, DIFFERENCES, "real+0.5")
        write_table(summary, studies[name].summary, schemas.SUMMARY)
        curve(here / "forest.png", "forest")
    return {"data": data, "models": models, "samples": samples, "studies": studies}


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

    VOID = frozenset({"meta", "img", "br", "link", "line", "circle", "rect"})

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
    assert "180 real test images of 92 patients" in text
    assert "Patients shared between splits: 0" in text
    assert "chance is 17 %" in text
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
    early = defaults["samplers"]["dpm20"] | {"autoguidance": "early", "guidance": 1.5}
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
    assert "The generators learnt from films with several findings too" in text


def test_shares_of_copies_stand_with_a_decimal_beside_what_chance_gives(html: str):
    text = Page(html).text
    assert "Only both measures together, in one feature space, speak of copies" in text
    assert "1.5 % 1.3 % to 1.6 % 0.8 % , up to 1.9 % 1.1 %".replace(" ,", ",") in re.sub(
        r" ?,", ",", text
    )
    assert "50.0 % 45.0 % to 55.0 % 50.0 % 48.0 %" in text
    assert "99 %" not in text
    assert "as published FID" not in text


def test_files_find_their_model_and_sampler(defaults: dict):
    config = defaults | {
        "models": {"b": {}, "a": {}},
        "samplers": {"y": {}, "x": {}},
        "studies": {"s": {}},
    }
    pairs = [(model, sampler) for model in "ab" for sampler in "xy"]
    given = InputFiles(
        fromdict={field.name: field.name for field in fields(Data)}
        | {field.name: [f"{m}/{field.name}" for m in "ab"] for field in fields(Model)}
        | {
            name: [f"{m}/{s}/{name}" for m, s in pairs]
            for name in ("samples", "denoising_strip", "metrics", "confusion_figure")
        }
        | {"sample_shards": [f"{m}/{s}/effusion/effusion_000.npy" for m, s in pairs]}
        | {"summary": ["s/summary"], "forest": ["s/forest"]}
    )
    found = files_of(given, config)
    assert list(found["models"]) == ["a", "b"]
    assert found["models"]["b"].loss_curve == "b/loss_curve"
    assert found["samples"]["a", "y"].metrics == "a/y/metrics"
    assert found["samples"]["b", "x"].shards == ["b/x/effusion/effusion_000.npy"]
    assert found["studies"] == {"s": Study("s/summary", "s/forest")}


# -- the answer


@pytest.mark.parametrize(
    ("primary", "other", "expected"),
    [
        ((0.004, -0.012, 0.020), (0.03, 0.01, 0.05), "No evidence of a gain"),
        ((0.004, 0.001, 0.020), (0.03, -0.01, 0.05), "A gain"),
        ((-0.02, -0.03, -0.01), (0.03, 0.01, 0.05), "A loss"),
        ((np.nan, np.nan, np.nan), (0.03, 0.01, 0.05), "Too few test patients to tell"),
    ],
)
def test_headline_speaks_of_the_primary_comparison(defaults, primary, other, expected):
    summary = summary_rows(["A", "B"], {"real+0.25": other, "real+0.5": primary}, "real+0.5")
    settings = defaults["studies"]["augmentation"]
    assert headline(comparisons(summary, settings)) == expected


def test_headline_without_primary_counts_comparisons(defaults):
    arms = {"real+0.25": (0.03, 0.01, 0.05), "real+0.5": (0.03, -0.01, 0.05)}
    found = comparisons(summary_rows(["A"], arms, ""), defaults["studies"]["augmentation"])
    assert headline(found) == "A gain in 1 of 2 comparisons"


def test_a_bound_that_prints_as_zero_is_not_read_as_a_loss():
    assert Comparison("a", 1.0, -0.001, -0.003, -0.0004).finding == "none"
    assert Comparison("a", 1.0, -0.002, -0.003, -0.0006).finding == "loss"
    assert Comparison("a", 1.0, 0.001, 0.0004, 0.003).finding == "none"
    assert Comparison("a", 1.0, 0.001, 0.0006, 0.003).finding == "gain"


def test_paragraph_names_the_half_width_and_the_secondary_comparison(defaults):
    settings = defaults["studies"]["augmentation"]
    text = paragraph(summary_rows(["A", "B"], DIFFERENCES, "real+0.5"), settings)
    assert "Primary comparison (real+0.5, 0.5 synthetic images per real one): no evidence" in text
    assert "Secondary comparison: real+0.25, no evidence of a gain, −0.002" in text
    assert "half-width of 0.016" in text
    assert "another seed moves the difference by 0.003 (standard deviation over 3 seeds)" in text


def test_a_reference_at_its_ceiling_is_said_to_be(defaults):
    settings = defaults["studies"]["augmentation"]
    summary = summary_rows(["A", "B"], DIFFERENCES, "real+0.5")
    assert "ceiling" not in paragraph(summary, settings)
    assert "That is its ceiling" in paragraph(summary.assign(value=0.999), settings)


def test_an_interval_on_too_few_patients_claims_nothing(defaults):
    settings = defaults["studies"]["augmentation"]
    summary = summary_rows(["A"], {"real+0.5": (0.03, 0.01, 0.05)}, "real+0.5").assign(
        resamples=1900
    )
    assert headline(comparisons(summary, settings)) == "Too few test patients to tell"
    assert "a gain of" not in paragraph(summary, settings)


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1), st.booleans())
def test_a_gain_is_claimed_only_of_an_interval_above_zero(a, b, c, sound):
    low, middle, high = sorted((a, b, c))
    item = Comparison("arm", 1, middle, low, high, sound=sound)
    assert ("a gain of" in item.sentence) == (sound and round(low, 3) > 0)
    assert ("a loss of" in item.sentence) == (sound and round(high, 3) < 0)


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


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_every_value_has_a_place_on_its_axis(values):
    axis = sections.scale(values)
    places = [sections.place(value, axis) for value in sorted(values)]
    assert axis[0] <= 0 < axis[1]
    assert places == sorted(places)
    assert all(0 <= place <= 100 for place in places)


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


def test_configuration_is_shown_in_the_order_of_the_file(defaults: dict):
    shuffled = dict(sorted(defaults.items()))
    assert list(sections.shown_configuration(shuffled)) == list(defaults)


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
