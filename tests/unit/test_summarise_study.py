"""The summary of a study: what it finds, and what it must not."""

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import CALIBRATION, MACRO, PREDICTIONS, SUBGROUPS, SUMMARY
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.study.multiplicity import holm
from workflow_scripts.study.summarise_study import summarise, summarise_study

CLASSES = ["No Finding", "Effusion", "Pneumonia"]
PRIMARY = {"arm": "better", "metric": "auroc"}
NUMBERS = ["value", "low", "high", "difference", "difference_low", "difference_high"]
LOWER_IS_BETTER = ("brier", "calibration_error")


def images_of_patients(count=600, patients=250, seed=0):
    rng = np.random.default_rng(seed)
    class_ids = rng.choice(3, count, p=[0.6, 0.3, 0.1])
    return pd.DataFrame(
        {
            "image_id": [f"{place:05d}" for place in range(count)],
            "patient_id": rng.integers(patients, size=count).astype(str),
            "class_id": class_ids,
            "class_name": np.array(CLASSES)[class_ids],
            "sex": rng.choice(["F", "M"], count),
            "view": rng.choice(["PA", "AP"], count),
        }
    )


def predicted(test, skill, seed=0):
    """Probabilities (n, 3) whose true class stands out by `skill` standard deviations."""
    scores = np.random.default_rng(seed).normal(size=(len(test), 3))
    scores[np.arange(len(test)), test["class_id"]] += skill
    scores = np.exp(scores)
    return scores / scores.sum(axis=1, keepdims=True)


def study(test, skills, seeds=2, bootstrap=300):
    """SUMMARY of arms with the given skill each."""
    probabilities = np.array(
        [[predicted(test, skill, seed) for seed in range(seeds)] for skill in skills.values()]
    )
    arms = list(skills)
    return summarise(test, probabilities, arms, arms[0], PRIMARY, bootstrap, CLASSES)[0]


def row(summary, metric, class_name, arm):
    found = summary.query("metric == @metric and class_name == @class_name and arm == @arm")
    assert len(found) == 1
    return found.iloc[0]


def test_an_arm_against_its_equal_differs_by_exactly_nothing():
    summary = study(images_of_patients(), {"real": 1.0, "better": 1.0})
    other = summary[summary["arm"] == "better"]
    for column in ("difference", "difference_low", "difference_high", "difference_seed_sd"):
        assert (other[column] == 0).all()
    assert (other["p_value"] == 1).all()


def test_a_planted_gain_is_found_in_every_class_and_survives_holm():
    summary = study(images_of_patients(), {"real": 0.5, "better": 1.5})
    other = summary[(summary["arm"] == "better") & ~summary["metric"].isin(LOWER_IS_BETTER)]
    assert (other["difference_low"] > 0).all()
    assert (other["difference_low"] < other["difference"]).all()
    assert (other["difference"] < other["difference_high"]).all()
    assert (other["p_value"] < 0.01).all()
    by_class = other[other["class_name"] != MACRO]
    assert (by_class["p_holm"] < 0.03).all()
    assert (by_class.query("metric == 'auroc'")["delong_low"] > 0).all()
    assert row(summary, "brier", MACRO, "better")["difference_high"] < 0


def test_holm_is_over_the_classes_of_one_arm_and_measure_and_delong_of_class_aurocs():
    test = images_of_patients()
    probabilities = np.array(
        [
            [predicted(test, 1 + place / 10, 9 * place + seed) for seed in (0, 1)]
            for place in (0, 1, 2)
        ]
    )
    arms = ["real", "better", "best"]
    summary, _ = summarise(test, probabilities, arms, "real", PRIMARY, 300, CLASSES)
    for arm in ("better", "best"):
        for metric in ("auroc", "auprc"):
            rows = summary[(summary["arm"] == arm) & (summary["metric"] == metric)]
            rows = rows[rows["class_name"] != MACRO]
            np.testing.assert_allclose(rows["p_holm"], holm(rows["p_value"]))
    assert summary.loc[summary["class_name"] == MACRO, "p_holm"].isna().all()
    checked = summary["delong_low"].notna()
    of_classes = (summary["metric"] == "auroc") & (summary["class_name"] != MACRO)
    assert (checked == of_classes & (summary["arm"] != "real")).all()
    assert (summary["difference"] > summary["delong_low"])[checked].all()


def test_pairing_makes_the_difference_surer_than_the_values():
    summary = study(images_of_patients(), {"real": 1.0, "better": 1.05})
    found = row(summary, "auroc", "macro", "better")
    assert found["difference_high"] - found["difference_low"] < (found["high"] - found["low"]) / 3
    # 2.8 standard errors, of which an interval is 3.92 wide.
    width = found["difference_high"] - found["difference_low"]
    assert found["detectable"] == pytest.approx(2.8016 / 3.92 * width, rel=0.15)


def test_the_interval_of_the_calibration_error_is_about_its_value():
    # Resampling adds noise to a binned error: unshifted, the interval lies above the value.
    test = images_of_patients(150, 150)
    summary = study(test, {"real": 1.0, "better": 1.0}, bootstrap=400)
    found = row(summary, "calibration_error", MACRO, "real")
    assert found["low"] < found["value"] < found["high"]
    middle = (found["low"] + found["high"]) / 2
    assert middle == pytest.approx(found["value"], abs=0.2 * (found["high"] - found["low"]))


def test_the_summary_counts_and_names_what_it_rests_on():
    test = images_of_patients()
    summary = SUMMARY.validate(study(test, {"real": 1.0, "better": 1.2, "best": 1.4}, seeds=3))
    assert len(summary) == (2 * len(CLASSES) + 5) * 3
    assert list(summary.loc[summary["primary"], ["metric", "class_name", "arm"]].iloc[0]) == [
        "auroc",
        "macro",
        "better",
    ]
    assert summary["primary"].sum() == 1
    found = row(summary, "auprc", "Pneumonia", "best")
    shown = test[test["class_name"] == "Pneumonia"]
    assert found["positives"] == len(shown)
    assert found["positive_patients"] == shown["patient_id"].nunique()
    assert found["n_patients"] == test["patient_id"].nunique()
    assert row(summary, "brier", MACRO, "best")["positives"] == len(test)
    assert found["seeds"] == 3
    reference = summary[summary["arm"] == "real"]
    for column in ("difference", "difference_low", "p_value", "p_holm", "detectable"):
        assert reference[column].isna().all()


def test_one_seed_has_no_spread_and_a_seed_more_has():
    one, two = (study(images_of_patients(), {"real": 1.0, "better": 1.2}, seeds=k) for k in (1, 2))
    assert one["seed_sd"].isna().all()
    assert (two["seed_sd"] > 0).all()


def test_resamples_that_miss_a_class_are_left_out_and_counted():
    test = images_of_patients(100, 100)
    test["class_id"] = np.r_[[2, 2], np.arange(98) % 2]
    test["class_name"] = np.array(CLASSES)[test["class_id"]]
    test["patient_id"] = np.arange(100).astype(str)
    summary = study(test, {"real": 0.5, "better": 1.0}, bootstrap=2000)
    # A patient is missed by (1 - 1/n)^n of the resamples, two of them by its square: 0.133.
    for class_name in ("Pneumonia", "macro"):
        found = row(summary, "auroc", class_name, "better")
        assert 0.84 < found["resamples"] / 2000 < 0.89
        assert not np.isnan(found[NUMBERS].astype(float)).any()
    assert row(summary, "auroc", "Effusion", "better")["resamples"] == 2000
    assert row(summary, "brier", MACRO, "better")["resamples"] == 2000


def test_a_class_without_a_test_image_is_an_error():
    test = images_of_patients()
    with pytest.raises(InputError, match="no test image shows Pneumonia"):
        study(test[test["class_id"] != 2].reset_index(drop=True), {"real": 1.0, "better": 1.0})


def write_predictions(folder, test, skills, seeds):
    paths = []
    for arm, skill in skills.items():
        for seed in seeds:
            frame = test.assign(arm=arm, seed=seed)
            frame[["p_0", "p_1", "p_2"]] = predicted(test, skill, seed)
            paths.append(folder / f"{arm}_seed{seed}.parquet")
            write_table(frame, paths[-1], PREDICTIONS)
    return paths


def summarised(paths, folder, bootstrap=200):
    folder.mkdir()
    out = [folder / f"{name}.parquet" for name in ("summary", "subgroups", "calibration")]
    arms = ["real", "better"]
    summarise_study(paths, *out, arms, "real", PRIMARY, [0, 1], bootstrap, CLASSES)
    return out


def test_the_summary_comes_from_the_files_alone_whatever_their_order(tmp_path):
    test = images_of_patients(120, 60)
    test.loc[:5, "sex"] = None
    paths = write_predictions(tmp_path, test, {"real": 0.5, "better": 1.0}, [0, 1])
    first = summarised(paths, tmp_path / "first")
    second = summarised(paths[::-1], tmp_path / "second")
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert len(read_table(first[0], SUMMARY)) == 22
    subgroups = read_table(first[1], SUBGROUPS)
    assert set(subgroups["attribute"]) == {"view", "sex"}
    calibration = read_table(first[2], CALIBRATION)
    assert calibration.groupby("arm")["images"].sum().to_dict() == {"real": 240, "better": 240}


def test_only_the_primary_comparison_and_its_classes_can_be_significant():
    summary = study(images_of_patients(), {"real": 0.5, "better": 1.5, "best": 2.0})
    sure = summary[summary["significant"]]
    assert set(sure["arm"]) == {"better"}
    assert set(sure["metric"]) == {"auroc"}
    assert set(sure["class_name"]) == {MACRO, *CLASSES}
    others = summary[(summary["arm"] == "best") & (summary["class_name"] != MACRO)]
    assert (others["p_holm"] < 0.05).all(), "else this shows nothing"


def test_one_seed_cannot_tell_and_few_patients_cannot_either():
    test, skills = images_of_patients(), {"real": 0.5, "better": 1.5}
    assert not study(test, skills, seeds=1)["significant"].any()
    rare = test[(test["class_id"] != 2) | (test.groupby("class_id").cumcount() < 12)]
    rare = rare.reset_index(drop=True)
    found = study(rare, skills).query("arm == 'better' and metric == 'auroc'")
    found = found.set_index("class_name")
    assert found.loc["Pneumonia", "fewest_patients"] <= 12
    assert found.loc[MACRO, "fewest_patients"] == found.loc["Pneumonia", "fewest_patients"]
    assert (found["p_value"] < 0.05).all(), "else this shows nothing"
    assert list(found.index[found["significant"]]) == ["No Finding", "Effusion"]


def test_files_that_do_not_fit_together_are_refused(tmp_path):
    test = images_of_patients(120, 60)
    paths = write_predictions(tmp_path, test, {"real": 0.5, "better": 1.0}, [0, 1])
    with pytest.raises(InputError, match="no predictions of better, seed 1"):
        summarised(paths[:3], tmp_path / "first")
    paths[3:] = write_predictions(tmp_path, test.iloc[1:], {"better": 1.0}, [1])
    with pytest.raises(InputError, match=r"better_seed1.* other test images"):
        summarised(paths, tmp_path / "second")
    assert not list(tmp_path.glob("*/summary.parquet"))
