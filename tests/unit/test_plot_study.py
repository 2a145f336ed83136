"""The figures of a study: what they show, and what they must not emphasise."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.unit.test_summarise_study import CLASSES, PRIMARY, images_of_patients, predicted, study
from workflow_scripts.common.figures import plt
from workflow_scripts.common.schemas import CALIBRATION, SUMMARY
from workflow_scripts.common.tables import write_table
from workflow_scripts.study.calibration import reliability
from workflow_scripts.study.forest import draw_forest
from workflow_scripts.study.plot_study import plot_study
from workflow_scripts.study.ratios import draw_ratios, kind
from workflow_scripts.study.reliability import draw_reliability

PLAIN = {"real": True, "synthetic": 0, "classes": "all", "order": "mixed"}


def calibration_of(test, skills):
    class_ids = test["class_id"].to_numpy()
    parts = {arm: predicted(test, skill)[None] for arm, skill in skills.items()}
    return [reliability(part, class_ids).assign(arm=arm) for arm, part in parts.items()]


def settings_of(skills):
    """The reference without synthetic images, every other arm with half as many again."""
    return [(arm, PLAIN | {"synthetic": place / 2}) for place, arm in enumerate(skills)]


def texts(figure):
    """Every text of a figure, on one line."""
    found = figure.findobj(plt.Text)
    return " ".join(" ".join(text.get_text().split()) for text in found)


@pytest.mark.parametrize("rare", [False, True])
@pytest.mark.parametrize("arms", [1, 5])
def test_the_figures_are_narrow_and_the_same_every_time(tmp_path, arms, rare):
    test = images_of_patients(120, 60)
    if rare:
        test = test[(test["class_id"] != 2) | ~test["class_id"].duplicated()].reset_index(drop=True)
    skills = {"real": 0.5, "better": 1.0} | {f"arm {place}": 0.6 for place in range(1, arms)}
    write_table(study(test, skills), tmp_path / "summary.parquet", SUMMARY)
    calibration = pd.concat(calibration_of(test, skills))
    write_table(calibration, tmp_path / "calibration.parquet", CALIBRATION)
    inputs = [tmp_path / "summary.parquet", tmp_path / "calibration.parquet"]
    for run in ("first", "second"):
        (tmp_path / run).mkdir()
        outputs = [tmp_path / run / f"{name}.png" for name in ("forest", "ratios", "calibration")]
        plot_study(*inputs, *outputs, settings_of(skills), "real", 300, phantom=True)
    for path in outputs:
        assert path.read_bytes() == (tmp_path / "first" / path.name).read_bytes()
        width, height = Image.open(path).size
        assert 750 <= width <= 1300
        assert height > width / 2


def filled(figure):
    """How many marks of a figure are filled, and how many there are."""
    marks = [line for line in figure.axes[0].lines if line.get_marker() in ("o", "D", "s", "^")]
    plt.close(figure)
    return sum(mark.get_markerfacecolor() != "white" for mark in marks), len(marks)


def test_marks_are_filled_where_the_summary_says_significant_and_nowhere_else():
    summary = study(images_of_patients(), {"real": 0.5, "better": 1.5, "other": 1.5})
    arms = settings_of(["real", "better", "other"])
    by_arm = 1 + len(CLASSES)
    assert filled(draw_forest(summary, "real", 300, False)) == (by_arm, 2 * by_arm)
    assert filled(draw_ratios(summary, arms, "real", False)) == (1, 2)
    none = summary.assign(significant=False)
    assert filled(draw_forest(none, "real", 300, False)) == (0, 2 * by_arm)
    assert filled(draw_ratios(none, arms, "real", False)) == (0, 2)


def test_the_forest_fills_the_marks_of_a_large_gain_and_none_of_no_gain():
    test = images_of_patients()
    for better, most in ((1.0, 0), (1.6, 1 + len(CLASSES))):
        figure = draw_forest(study(test, {"real": 1.0, "better": better}), "real", 300, False)
        axes = figure.axes[0]
        marks = [line for line in axes.lines if line.get_marker() in ("o", "D")]
        assert len(marks) == 1 + len(CLASSES)
        assert sum(mark.get_markerfacecolor() != "white" for mark in marks) == most
        assert "Phantom" not in texts(figure)
        plt.close(figure)


def test_the_forest_says_where_patients_or_seeds_are_too_few_to_tell():
    test = images_of_patients(100, 100)
    test["class_id"] = np.r_[[0, 1], np.full(98, 2)]
    test["class_name"] = np.array(CLASSES)[test["class_id"]]
    test["patient_id"] = np.arange(100).astype(str)
    figure = draw_forest(study(test, {"real": 0.5, "better": 1.5}), "real", 300, False)
    # Two classes of one patient, one of all but two, and their mean.
    assert texts(figure).count("†") == 4 + 1
    assert "fewer than 20 subjects" in texts(figure)
    assert "(300 resamples)" in texts(figure)
    assert filled(figure) == (0, 1 + len(CLASSES))
    figure = draw_forest(
        study(images_of_patients(), {"real": 0.5, "better": 1.5}, seeds=1), "real", 300, False
    )
    assert "†" not in texts(figure)
    assert "Another training was not tried" in texts(figure)
    assert filled(figure) == (0, 1 + len(CLASSES))


def test_every_arm_with_synthetic_images_has_its_place_among_the_ratios():
    skills = {"real": 1.0, "better": 1.2, "first": 1.1, "alone": 0.5, "balanced": 1.0}
    summary = study(images_of_patients(), skills)
    arms = [
        ("real", PLAIN),
        ("better", PLAIN | {"synthetic": 0.5}),
        ("first", PLAIN | {"synthetic": 2, "order": "pretrain"}),
        ("alone", PLAIN | {"synthetic": 2, "real": False}),
        ("balanced", PLAIN),
    ]
    figure = draw_ratios(summary, arms, "real", phantom=True)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.5", "2"]
    marks = {line.get_marker(): line for line in axes.lines if line.get_marker() in "os^D"}
    assert set(marks) == {"o", "s", "^"}
    gain = summary.query("metric == 'auroc' and class_name == 'macro'").set_index("arm")
    assert marks["^"].get_ydata()[0] == gain.loc["alone", "difference"]
    assert marks["s"].get_xdata()[0] < marks["^"].get_xdata()[0]
    written = texts(figure)
    assert "Phantom films, not patients" in written
    assert "With 80 % power, the trained classifiers given" in written
    assert [kind(settings) for _, settings in arms[1:4]] == [
        "real + synthetic",
        "synthetic first, then real",
        "synthetic alone",
    ]
    plt.close(figure)


def test_a_study_without_synthetic_images_says_so():
    summary = study(images_of_patients(), {"real": 1.0, PRIMARY["arm"]: 1.2})
    arms = [("real", PLAIN), ("better", PLAIN | {"sampling": "natural"})]
    figure = draw_ratios(summary, arms, "real", phantom=False)
    assert "No arm has synthetic images" in texts(figure)
    plt.close(figure)


def test_the_reliability_diagram_shows_every_prediction_of_every_arm():
    test, skills = images_of_patients(), {"real": 1.0, "better": 1.2, "third": 0, "fourth": 2}
    calibration = pd.concat(calibration_of(test, skills))
    figure = draw_reliability(calibration, study(test, skills), list(skills), phantom=False)
    assert len(figure.axes) == 2 * len(skills)
    for axes in figure.axes[1::2]:
        assert sum(bar.get_height() for bar in axes.patches) == len(test)
    for arm in skills:
        assert arm in texts(figure)
    plt.close(figure)
