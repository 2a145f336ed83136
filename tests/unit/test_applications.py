"""What the report says of applications: claims follow the numbers, and every number is shown."""

import copy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_report import Page, curve, defaults, render, table_rows, write_artefacts

from workflow_scripts.anomaly.summary import summarise
from workflow_scripts.common import schemas
from workflow_scripts.common.numbers import fixed, signed, signed_span
from workflow_scripts.common.privacy import without_folders
from workflow_scripts.common.references import references
from workflow_scripts.common.schemas import ENOUGH_PATIENTS, MACRO
from workflow_scripts.common.tables import checked, table_of, write_table
from workflow_scripts.report import applications
from workflow_scripts.report.applications import (
    CONTENT,
    FIGURES,
    NAMES,
    blocks,
    by_entry,
    in_order,
)
from workflow_scripts.report.restorations import Task, finding, headline, restoration
from workflow_scripts.report.searches import headline as search_headline
from workflow_scripts.report.searches import lead as search_lead
from workflow_scripts.report.searches import search

MASKS = ("box", "strokes")
TASK = Task(
    reference="biharmonic",
    truth="hidden part",
    images="masked image",
    where="with",
    everywhere="with every kind of mask",
    conditions={"box": "a hidden box", "strokes": "hidden strokes"},
    methods={"biharmonic": "the biharmonic answer", "repaint": "the model"},
    asked=("repaint",),
)
BASE = {"psnr": 24.0, "ssim": 0.8, "mae": 0.03, "lpips": 0.2}
# In the units of each measure: what is 1 dB nearer is also nearer by the others.
PER_DB = {"psnr": 1.0, "ssim": 0.02, "mae": -0.002, "lpips": -0.01}


def restored(gains: dict, patients: int = 40, reference: str = "biharmonic") -> pd.DataFrame:
    """RESTORATION_SUMMARY in which answers are nearer than the reference by so many dB.

    Parameters
    ----------
    gains : by (method, samples) and condition the difference and its interval, in dB of PSNR
    """
    conditions = list(next(iter(gains.values())))
    answers = {(reference, 1): dict.fromkeys(conditions, (np.nan,) * 3)} | gains
    rows = []
    for (method, samples), found in answers.items():
        for condition, ends in found.items():
            for metric, per_db in PER_DB.items():
                value, low, high = (per_db * end for end in ends)
                low, high = sorted([low, high])
                mean = BASE[metric] + np.nan_to_num(value)
                rows.append(
                    {
                        "condition": condition,
                        "method": method,
                        "samples": samples,
                        "metric": metric,
                        "n_images": 2 * patients,
                        "n_patients": patients,
                        "value": mean,
                        "low": mean - 0.001,
                        "high": mean + 0.001,
                        "difference": value,
                        "difference_low": low,
                        "difference_high": high,
                    }
                )
    return checked(pd.DataFrame(rows), "made up", schemas.RESTORATION_SUMMARY)


def both(box: tuple, strokes: tuple, **options) -> pd.DataFrame:
    """What one model makes of two kinds of masks: the mean of 4 draws, and one draw 1 dB below it."""
    mean = {"box": box, "strokes": strokes}
    one = {name: tuple(end - 1 for end in ends) for name, ends in mean.items()}
    return restored({("repaint", 1): one, ("repaint", 4): mean}, **options)


GAIN, NONE, LOSS = (1.2, 0.8, 1.6), (0.3, -0.2, 0.8), (-0.9, -1.4, -0.4)


# Restored images


@pytest.mark.parametrize(
    ("box", "strokes", "said", "sure"),
    [
        (
            GAIN,
            GAIN,
            "Nearer to the hidden part than the biharmonic answer with every kind of mask",
            True,
        ),
        (
            NONE,
            NONE,
            "No evidence of a difference from the biharmonic answer with every kind of mask",
            False,
        ),
        (
            LOSS,
            LOSS,
            "Farther from the hidden part than the biharmonic answer with every kind of mask",
            False,
        ),
        (
            GAIN,
            NONE,
            "Against the biharmonic answer, nearer with a hidden box, no evidence of a difference with hidden strokes",
            False,
        ),
        (
            LOSS,
            GAIN,
            "Against the biharmonic answer, nearer with hidden strokes, farther with a hidden box",
            False,
        ),
    ],
)
def test_the_headline_claims_what_every_interval_carries(box, strokes, said, sure):
    assert headline(both(box, strokes), TASK) == (said, sure)


def test_few_patients_and_missing_intervals_carry_nothing():
    few = both(GAIN, GAIN, patients=ENOUGH_PATIENTS - 1)
    assert headline(few, TASK) == ("Too few test subjects to tell", False)
    assert headline(both(GAIN, (2.0, np.nan, np.nan)), TASK)[0] == "Too few test subjects to tell"
    shown = restoration(few, TASK)
    rows = [row for group in shown["groups"] for row in group["rows"]]
    assert {row["finding"] for row in rows} == {"none"}
    assert not any(cell["sure"] for row in rows for cell in row["cells"])


interval = st.tuples(*[st.floats(-3, 3)] * 3).map(sorted).map(lambda e: (e[1], e[0], e[2]))


@given(box=interval, strokes=interval)
def test_no_claim_stands_against_an_interval(box, strokes):
    text, sure = headline(both(box, strokes), TASK)
    above = [low > 0 for _, low, _ in (box, strokes)]
    below = [high < 0 for _, _, high in (box, strokes)]
    assert sure == all(above)
    assert ("nearer" in text.lower()) == any(above)
    assert ("farther" in text.lower()) == any(below)
    assert ("no evidence" in text.lower()) == (
        not all(a or b for a, b in zip(above, below, strict=True))
    )


def test_less_error_is_nearer_and_more_is_farther():
    row = {"metric": "mae", "n_patients": 40, "difference_low": -0.02, "difference_high": -0.01}
    assert finding(row) == "gain"
    assert finding(row | {"metric": "ssim"}) == "loss"
    assert finding(row | {"difference_high": 0.0}) == "none"


def test_several_methods_stand_each_for_itself():
    names = ("plain", "guided", "matched")
    task = Task(**(vars(TASK) | {"asked": names, "methods": {"biharmonic": "NLM"}}))
    one = {"box": GAIN, "strokes": GAIN}
    gains = {("plain", 4): one, ("guided", 4): one, ("matched", 4): {"box": LOSS, "strokes": LOSS}}
    text, sure = headline(restored(gains), task)
    assert text == (
        "plain and guided: nearer to the hidden part than NLM with every kind of mask; "
        "matched: farther from the hidden part than NLM with every kind of mask"
    )
    assert not sure
    text, sure = headline(restored(gains | {("matched", 4): one}), task)
    assert text == "All 3 methods: nearer to the hidden part than NLM with every kind of mask"
    assert sure


def test_the_sentences_give_each_difference_its_interval_and_its_number():
    shown = restoration(both(GAIN, NONE), TASK)
    assert shown["judged_on"] == (
        "Differences to the biharmonic answer, on 80 masked images of 40 test subjects with every "
        "kind of mask:"
    )
    (said,) = shown["lead"]
    assert said.startswith(
        "The model, mean of 4 draws: PSNR +1.20 dB (+0.80 to +1.60) with a hidden box; +0.30 dB "
        "(−0.20 to +0.80) with hidden strokes. The same holds by SSIM."
    )
    assert (
        "Of one draw alone: against the biharmonic answer, farther with hidden strokes, no" in said
    )


def test_every_number_of_a_summary_is_in_its_tables():
    summary = both(GAIN, LOSS)
    shown = restoration(summary, TASK)
    assert [measure.title for measure in shown["metrics"]][:2] == ["PSNR", "SSIM"]
    assert len(shown["groups"]) == 2
    for group in shown["groups"]:
        assert group["rows"][0]["reference"]
        assert [row["answer"] for row in group["rows"]] == ["", "mean of 4 draws", "one draw"]
    cells = [cell for g in shown["groups"] for row in g["rows"] for cell in row["cells"]]
    assert len(cells) == len(summary)
    texts = [f"{cell['value']} {cell['interval']} {cell['difference']}" for cell in cells]
    for row in summary[summary["method"] == "repaint"].to_dict("records"):
        digits = {"psnr": 2, "mae": 4}.get(row["metric"], 3)
        wanted = (
            f"{row['value']:.{digits}f}",
            signed_span(row["difference_low"], row["difference_high"], digits),
        )
        assert any(all(word in text for word in wanted) for text in texts), row


def test_dots_lie_where_their_differences_are():
    shown = restoration(both(GAIN, LOSS), TASK)
    assert shown["reach"] == pytest.approx(1.05 * 2.4)
    (_, mean, _), (_, other, _) = ([row["at"] for row in g["rows"]] for g in shown["groups"])
    assert mean["low"] < mean["value"] < mean["high"] and mean["low"] > 50
    assert mean["value"] == pytest.approx(50 + 50 * 1.2 / shown["reach"], abs=0.01)
    assert other["high"] < 50


# Searches for anomalies

FINDINGS = ("Effusion", "Mass")


def searched(auroc: dict, patients: int = 30, regions: bool = True) -> pd.DataFrame:
    """ANOMALY_SUMMARY of two findings.

    Parameters
    ----------
    auroc : by method its AUROC and interval, and the difference to the autoencoder and interval
    """
    rows = []
    for method, (ends, apart) in auroc.items():
        for level in (0.0,) if method == "autoencoder" else (1.0, 2.0):
            for measure, chance in (("auroc", 0.5), ("hit", 0.1)):
                for name in (*FINDINGS, MACRO) if regions or measure == "auroc" else ():
                    ill = patients * (2 if name == MACRO else 1)
                    value, low, high = ends if measure == "auroc" else (0.62, 0.55, 0.7)
                    rows.append(
                        {
                            "measure": measure,
                            "class_name": name,
                            "method": method,
                            "level": level,
                            "chosen": level != 1.0,
                            "n_images": 3 * ill,
                            "n_patients": ill + (patients if measure == "auroc" else 0),
                            "positives": ill,
                            "positive_patients": ill,
                            "healthy_patients": patients if measure == "auroc" else 0,
                            "value": value if level != 1.0 else 0.501,
                            "low": low,
                            "high": high,
                            "chance": chance,
                            "difference": apart[0],
                            "difference_low": apart[1],
                            "difference_high": apart[2],
                            "validation": value,
                        }
                    )
    return checked(pd.DataFrame(rows), "made up", schemas.ANOMALY_SUMMARY)


ALONE = (np.nan,) * 3
TOLD, GUESS = (0.9, 0.85, 0.94), (0.52, 0.44, 0.6)
BETTER, SAME, WORSE = (0.1, 0.04, 0.16), (0.01, -0.05, 0.06), (-0.1, -0.15, -0.03)


def of_noises(gaussian: tuple, simplex: tuple, **options) -> pd.DataFrame:
    methods = {"gaussian": gaussian, "simplex": simplex, "autoencoder": ((0.8, 0.7, 0.9), ALONE)}
    return searched(methods, **options)


@pytest.mark.parametrize(
    ("gaussian", "simplex", "said", "sure"),
    [
        (
            (TOLD, BETTER),
            (TOLD, BETTER),
            "Findings are told from health, better than by the autoencoder, with both kinds of noise",
            True,
        ),
        (
            (TOLD, SAME),
            (TOLD, SAME),
            "Findings are told from health; no evidence of a difference from the autoencoder, with both kinds of noise",
            False,
        ),
        (
            (GUESS, SAME),
            (GUESS, SAME),
            "No evidence that findings are told from health, with both kinds of noise",
            False,
        ),
        (
            (TOLD, BETTER),
            (TOLD, WORSE),
            "Gaussian noise: findings are told from health, better than by the autoencoder; "
            "simplex noise: findings are told from health, but less well than by the autoencoder",
            False,
        ),
    ],
)
def test_a_search_claims_what_its_intervals_carry(gaussian, simplex, said, sure):
    assert search_headline(of_noises(gaussian, simplex)) == (said, sure)


def test_a_search_among_few_patients_claims_nothing():
    few = of_noises((TOLD, BETTER), (TOLD, BETTER), patients=ENOUGH_PATIENTS - 1)
    assert search_headline(few) == ("Too few test subjects to tell", False)
    assert "too narrow to conclude from" in search_lead(few)[-1]


def test_a_patient_with_healthy_images_and_others_counts_among_both():
    """Sixty patients, each with one healthy image and one of an effusion, are enough."""
    rows = [
        {"image_id": f"{split}{patient}{name}", "patient_id": f"{split}{patient}"}
        | {"class_id": int(name != "No Finding"), "class_name": name, "split": split}
        | {"method": method, "level": float(method == "gaussian"), "score": 50.0 + patient}
        | dict.fromkeys(("region", "pixel_auroc", "average_precision", "hit", "dice", "threshold"))
        for split in ("val", "test")
        for patient in range(60)
        for name in ("No Finding", "Effusion")
        for method in ("gaussian", "autoencoder")
    ]
    classes = ["No Finding", "Effusion"]
    scores = table_of(rows, schemas.ANOMALY_SCORES)
    summary = checked(
        summarise(scores, classes, "No Finding", 100, 1), "made up", schemas.ANOMALY_SUMMARY
    )
    assert set(summary["positive_patients"]) == set(summary["healthy_patients"]) == {60}
    assert search_headline(summary) == ("No evidence that findings are told from health", False)
    assert "test subject" not in " ".join(search_lead(summary))


def test_a_search_says_the_level_the_numbers_and_the_region():
    summary = of_noises((TOLD, BETTER), (GUESS, WORSE))
    first, second = search_lead(summary)
    assert "Gaussian noise up to σ/α = 2, the level that validation images chose" in first
    assert "AUROC 0.900 (0.850 to 0.940)" in first and "+0.100 (+0.040 to +0.160)" in first
    assert "Of 2 findings, the interval of 2 lies above chance." in first
    assert "the interval of 0 lies above chance" in second
    assert "inside the finding in 62\u00a0% (55\u00a0% to 70\u00a0%; by chance 10\u00a0%)" in first
    found = search(summary, list(FINDINGS))
    assert found["judged_on"] == "On 180 test images of 90 subjects, 60 of them with a finding:"
    assert "0.501" not in str(found), "a level that was not chosen"
    unknown = search_lead(of_noises((TOLD, BETTER), (TOLD, BETTER), regions=False))
    assert "region" not in " ".join(unknown)


def test_tables_of_a_search_hold_findings_by_methods():
    found = search(of_noises((TOLD, BETTER), (TOLD, SAME)), ["No Finding", *FINDINGS])
    assert list(found["methods"]) == ["gaussian", "simplex", "autoencoder"]
    assert [table["title"] for table in found["tables"]] == [
        "Told from health, AUROC",
        "Where it is: the largest residual lies inside",
    ]
    assert [row["name"] for row in found["tables"][0]["rows"]] == [MACRO, *FINDINGS]
    assert found["tables"][0]["rows"][1]["cells"]["simplex"]["difference"] == SAME[0]


def test_a_search_as_the_step_summarises_it():
    rng = np.random.default_rng(3)
    rows = []
    for number in range(180):
        name, split = ("No Finding", *FINDINGS)[number % 3], ("val", "test")[number // 3 % 2]
        ill = name != "No Finding"
        for method, level in (("gaussian", 1.0), ("gaussian", 2.0), ("autoencoder", 0.0)):
            rows.append(
                {"image_id": f"{number}.png", "patient_id": str(number), "class_id": number % 3}
                | {"class_name": name, "split": split, "method": method, "level": level}
                | {"score": 20 + 30 * ill * (method == "gaussian") + 5 * rng.random()}
                | dict.fromkeys(
                    ("region", "pixel_auroc", "average_precision"), 0.3 if ill else None
                )
                | dict.fromkeys(("hit", "dice", "threshold"), 1.0 if ill else None)
            )
    scores = table_of(rows, schemas.ANOMALY_SCORES)
    found = search(summarise(scores, ["No Finding", *FINDINGS], "No Finding", 200, 1), FINDINGS)
    assert found["headline"] == "Findings are told from health, better than by the autoencoder"
    assert found["sure"] and list(found["methods"]) == ["gaussian", "autoencoder"]
    assert "up to σ/α = 1, the level" in found["lead"][0]
    assert [len(table["rows"]) for table in found["tables"]] == [3] * 5


# Files and settings


def test_settings_hold_no_folder_of_this_machine(defaults):
    settings = defaults["inpainting"]["films"]
    masks = settings["masks"] | {"folder": "/home/somebody/masks"}
    ((_, values),) = [
        block
        for block in blocks(without_folders(settings | {"masks": masks}))
        if block[0] == "masks"
    ]
    assert values["folder"] == "…/masks"


def test_files_find_their_entry_and_folder():
    paths = [
        "results/anomaly/superresolution/films/x2/summary.parquet",
        "results/anomaly/superresolution/films/x4/summary.parquet",
        "results/anomaly/superresolution/other/x2/panel.png",
    ]
    found = by_entry("superresolution", paths)
    assert list(found) == ["films", "other"] and list(found["films"]) == ["x2", "x4"]
    assert found["other"] == {"x2": {"panel.png": paths[2]}}
    assert by_entry("anomaly", ["anomaly/a/summary.parquet"]) == {
        "a": {"": {"summary.parquet": "anomaly/a/summary.parquet"}}
    }


def test_factors_stand_in_the_order_of_their_numbers():
    assert [name for name, _ in in_order({"x16": {}, "x2": {}, "x4": {}})] == ["x2", "x4", "x16"]


def asked(config: dict, name: str, entry: str) -> str:
    """What the page says was asked of an entry, with the settings of `config`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(applications, "summary_of", lambda *_: None)
        patch.setattr(applications, "restoration", lambda *_: {"lead": []})
        patch.setattr(applications, "search", lambda *_: {})
        patch.setattr(applications, "read_table", lambda *_: None)
        patch.setattr(applications, "scatter", lambda *_: "")
        folders = {"": {"uncertainty.parquet": ""}}
        return CONTENT[name](config, config[name][entry], folders)["asked"]


def test_a_study_without_non_local_means_says_nothing_of_them(defaults):
    assert "non-local" in asked(defaults, "denoising", "films")
    study = defaults["denoising"]["films"]
    methods = {name: method for name, method in study["methods"].items() if name != "nlm"}
    config = defaults | {"denoising": {"films": study | {"methods": methods, "reference": "unet"}}}
    assert "non-local" not in asked(config, "denoising", "films")


def test_the_page_says_what_a_model_knows_and_what_it_is_held_against_does_not(defaults):
    said = asked(defaults, "inpainting", "films")
    assert "with 50 steps, jumps of 5 and 5 resamplings" in said
    assert "told the test image’s own finding, as far as known; the biharmonic answer knows" in said
    models = copy.deepcopy(defaults["models"])
    models["recommended"]["conditions"] = ["finding", "view", "age"]
    said = asked(defaults | {"models": models}, "inpainting", "films")
    assert "own finding, view and age, as" in said
    said = asked(defaults, "anomaly", "pathology")
    assert "the mean of its largest 5\u00a0% the score" in said
    assert "learned from all classes with their labels" in said
    assert "chosen on labelled validation images; the autoencoder has seen healthy" in said


def test_settings_come_in_blocks_that_lack_nothing():
    settings = {
        "seed": 1,
        "noise": {"kind": "gaussian", "variances": [0.1]},
        "methods": {"a": {"kind": "nlm"}, "b": {"kind": "d", "diffusion": {"loss": "l2"}}},
        "sampler": {},
    }
    assert blocks(settings) == [
        ("", {"seed": 1}),
        ("noise", {"kind": "gaussian", "variances": [0.1]}),
        ("methods: a", {"kind": "nlm"}),
        ("methods: b", {"kind": "d", "diffusion.loss": "l2"}),
    ]


# On the page

__all__ = ["defaults"]  # a fixture


def uncertain(methods: list[str], conditions: list[str]) -> pd.DataFrame:
    """UNCERTAINTY in which every method scatters too little."""
    rows = [
        {"condition": condition, "method": method, "samples": 8, "measure": "error_over_spread"}
        | {"expected": 1.0, "n_images": 80, "n_patients": 40, "value": 1.31, "low": 1.2}
        | {"high": 1.42, "verdict": "too narrow"}
        for method in methods
        for condition in conditions
    ]
    return pd.DataFrame(rows)


def restorations(config: dict) -> dict[tuple[str, str, str], pd.DataFrame]:
    """A summary of each entry, and folder of it, of the applications that restore images."""
    found = {}
    for name, study in config["denoising"].items():
        variances = [f"{study['noise']['kind']} {v:g}" for v in study["noise"]["variances"]]
        gains = {}
        for method, settings in study["methods"].items():
            for samples in (1, 8) if settings["kind"] == "diffusion" else (1,):
                gains[method, samples] = dict.fromkeys(variances, GAIN)
        gains.pop((study["reference"], 1))
        noisy = {("noisy", 1): dict.fromkeys(variances, LOSS)}
        found["denoising", name, ""] = restored(noisy | gains, reference=study["reference"])
    for name, settings in config["inpainting"].items():
        kinds = dict.fromkeys(settings["masks"]["kinds"], NONE)
        found["inpainting", name, ""] = restored({("repaint", 1): kinds, ("repaint", 4): kinds})
    for name, settings in config["superresolution"].items():
        for factor, ends in zip(settings["factors"], (GAIN, LOSS), strict=True):
            gains = {("sr3", samples): {f"x{factor}": ends} for samples in (1, 4)}
            summary = restored(gains, reference="bicubic")
            found["superresolution", name, f"x{factor}"] = summary
    return found


def write_applications(folder: Path, config: dict) -> dict:
    """Write what the page reads of every application, and return its files as the step has them."""
    tables = restorations(config)
    for name in config["anomaly"]:
        tables["anomaly", name, ""] = of_noises((TOLD, BETTER), (GUESS, WORSE))
    paths = {name: [] for name in NAMES}
    for (application, entry, part), table in tables.items():
        here = folder / application / entry / part
        here.mkdir(parents=True)
        anomaly = application == "anomaly"
        schema = schemas.ANOMALY_SUMMARY if anomaly else schemas.RESTORATION_SUMMARY
        write_table(table, here / "summary.parquet", schema)
        if application == "denoising":
            methods = [
                n for n, m in config["denoising"][entry]["methods"].items() if "sampler" in m
            ]
            spread = uncertain(methods, table["condition"].unique().tolist())
            write_table(spread, here / "uncertainty.parquet", schemas.UNCERTAINTY)
        for figure in FIGURES[application]:
            curve(here / figure, "forest")
        paths[application] += [str(path) for path in sorted(here.iterdir())]
    return {name: by_entry(name, found) for name, found in paths.items()}


@pytest.fixture(scope="module")
def shown(tmp_path_factory, defaults, root) -> tuple[dict, str]:
    """A configuration that shows all applications, and the page."""
    folder = tmp_path_factory.mktemp("shown")
    judges = defaults["evaluate"] | {"lpips": ["alex", "squeeze"]}
    config = defaults | {"report": {"applications": list(NAMES)}, "evaluate": judges}
    artefacts = write_artefacts(folder, config)
    artefacts["applications"] = write_applications(folder, config)
    render(folder / "index.html", root, config=config, **artefacts)
    return config, (folder / "index.html").read_text(encoding="utf-8")


def test_the_page_has_a_section_for_each_application_that_is_named(shown):
    _, html = shown
    page = Page(html)
    assert not page.crossed and not page.open
    anchors = {found["id"] for _, found in page.tags if "id" in found}
    assert set(NAMES) <= anchors
    assert {found["href"][1:] for tag, found in page.tags if tag == "a"} <= anchors
    for text in (
        "All 3 diffusion methods: nearer to the clean patch than non-local means at every noise level",
        "No evidence of a difference from the biharmonic answer with every kind of mask",
        "Against cubic interpolation, nearer at factor 2, farther at factor 4",
        "better than by the autoencoder; simplex noise: no evidence that findings are told",
        "ddpm (concatenation) too narrow at every noise level (1.31, 1.31, 1.31); guided too",
        "80 patches of 40 subjects",
        "Lugmayr",
        "Wyatt",
    ):
        assert text in page.text, text
    captions = [caption for figures in FIGURES.values() for caption in figures.values()]
    assert all(caption in page.text for caption in captions)
    assert (
        "the trained models given, each by itself and not corrected for their number" in page.text
    )
    assert "the more methods and conditions, the more of them leave out 0 by chance" in page.text
    assert "LPIPS: of the network alex." in page.text
    assert "/home/" not in html


def test_every_number_of_the_applications_stands_on_the_page(shown):
    config, html = shown
    rows = [" | ".join(cells) for cells in table_rows(html)]
    for summary in restorations(config).values():
        for row in summary.to_dict("records"):
            digits = {"psnr": 2, "mae": 4}.get(row["metric"], 3)
            wanted = [f"{fixed(row[key], digits)}" for key in ("value", "low", "high")]
            if not np.isnan(row["difference"]):
                ends = signed_span(row["difference_low"], row["difference_high"], digits)
                wanted += [signed(row["difference"], digits), ends]
            assert any(all(word in text for word in wanted) for text in rows), row
    summary = of_noises((TOLD, BETTER), (GUESS, WORSE))
    for row in summary[summary["chosen"]].to_dict("records"):
        name = "Mean of findings" if row["class_name"] == MACRO else row["class_name"]
        if name == "Mass":  # no class of this configuration
            continue
        wanted = [name, *(fixed(row[key]) for key in ("value", "low", "high", "chance"))]
        assert any(all(word in text for word in wanted) for text in rows), row


def test_only_where_an_interval_leaves_0_out_is_a_number_bold_or_a_dot_in_colour(shown):
    _, html = shown
    inpainting = html.split('<section id="inpainting">')[1].split("<section")[0]
    assert "<b>" not in inpainting.split("<table")[1].split("</table>")[0]
    assert not {"dots gain", "dots loss"} & set(inpainting.split('"'))
    assert 'class="headline"' in inpainting
    denoising = html.split('<section id="denoising">')[1].split("<section")[0]
    assert "dots gain" in denoising and 'class="headline sure"' in denoising


def test_a_page_without_applications_says_nothing_of_them(defaults, root, tmp_path):
    assert defaults["report"]["applications"] == []
    artefacts = write_artefacts(tmp_path, defaults)
    render(tmp_path / "index.html", root, config=defaults, **artefacts)
    text = Page((tmp_path / "index.html").read_text(encoding="utf-8")).text
    page = text.split("The configuration in full")[0]
    for word in ("biharmonic", "non-local", "autoencoder", "inpainting", "Anomal", "denoising."):
        assert word not in page, word


def test_applications_that_are_shown_are_cited(defaults):
    def cited(*names: str) -> str:
        return " ".join(references(defaults | {"report": {"applications": list(names)}}))

    works = {
        "denoising": "Buades",
        "inpainting": "Lugmayr",
        "superresolution": "Saharia",
        "anomaly": "Wyatt",
    }
    for name, author in works.items():
        assert author in cited(name)
        assert not any(other in cited(name) for key, other in works.items() if key != name)
    assert "Baur" in cited("anomaly") and "Wolleb" in cited("anomaly")
    # How it is drawn: healing is by DDIM always, denoising where its sweep names it.
    assert "Denoising Diffusion Implicit Models" not in cited("inpainting", "superresolution")
    assert all("Denoising Diffusion Implicit Models" in cited(n) for n in ("anomaly", "denoising"))
    assert "Gudbjartsson" not in cited("denoising")
    study = defaults["denoising"]["films"]
    rician = {"films": study | {"noise": study["noise"] | {"kind": "rician"}}}
    config = defaults | {"report": {"applications": ["denoising"]}, "denoising": rician}
    assert "Gudbjartsson" in " ".join(references(config))
