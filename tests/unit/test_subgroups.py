"""Groups of patients, and the gap between them."""

import logging

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from workflow_scripts.common.schemas import SUBGROUPS
from workflow_scripts.study.bootstrap import resampled
from workflow_scripts.study.subgroups import SMALLEST, GroupAuroc, find_groups, tabulate

CLASSES = ["No Finding", "Effusion", "Nodule"]


def images(count=400, seed=0, views=("AP", "PA")):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "patient_id": [f"{number // 2}" for number in range(count)],
            "class_id": rng.choice(3, count, p=[0.5, 0.3, 0.2]),
            "sex": np.repeat(rng.choice(["F", "M"], count // 2), 2),
            "view": rng.choice(views, count),
        }
    )


def scores(test, skill, seed):
    drawn = np.random.default_rng(seed).normal(size=(len(test), 3))
    drawn[np.arange(len(test)), test["class_id"]] += skill
    return np.exp(drawn) / np.exp(drawn).sum(axis=1, keepdims=True)


def table(test, skills, seeds=2, bootstrap=300):
    """SUBGROUPS of arms whose skill is a number or one per image."""
    groups, class_ids = find_groups(test, CLASSES), test["class_id"].to_numpy()
    judges = [
        [
            GroupAuroc(scores(test, skill, 10 * place + seed), class_ids, groups)
            for seed in range(seeds)
        ]
        for place, skill in enumerate(skills.values())
    ]
    rng = np.random.default_rng(1)
    point, drawn = resampled(judges, test["patient_id"].to_numpy(), bootstrap, rng)
    return tabulate(test, groups, list(skills), "real", point.mean(axis=1), drawn)


def row(found, arm, group):
    rows = found[(found["arm"] == arm) & (found["group"] == group)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_a_group_is_judged_on_its_own_images():
    test = images()
    found = SUBGROUPS.validate(table(test, {"real": 1.0, "other": 1.2}, seeds=1))
    women = (test["sex"] == "F").to_numpy()
    probabilities, truth = scores(test, 1.2, 10)[women], test["class_id"][women]
    expected = np.mean([roc_auc_score(truth == k, probabilities[:, k]) for k in range(3)])
    at = row(found, "other", "F")
    assert at["value"] == pytest.approx(expected)
    assert at["n_images"] == women.sum()
    assert at["n_patients"] == test["patient_id"][women].nunique()
    assert at["low"] < at["value"] < at["high"]
    assert at["difference"] == pytest.approx(at["value"] - row(found, "real", "F")["value"])
    assert found.loc[found["arm"] == "real", "difference"].isna().all()


def test_a_planted_gap_is_found_and_the_gap_of_equal_groups_holds_zero():
    test = images(1200)
    skill = np.where(test["sex"] == "F", 0.3, 2.0)
    found = table(test, {"real": 1.0, "unfair": skill})
    gap = row(found[found["attribute"] == "sex"], "unfair", "gap")
    groups = [row(found, "unfair", name)["value"] for name in "FM"]
    assert gap["value"] == pytest.approx(groups[1] - groups[0])
    assert gap["low"] > 0.1
    assert gap["difference_low"] > 0.1
    assert gap["n_images"] == len(test)
    assert row(found[found["attribute"] == "view"], "unfair", "gap")["low"] < 0
    assert row(found[found["attribute"] == "sex"], "real", "gap")["low"] < 0


def test_a_gap_between_equal_groups_is_claimed_in_about_one_test_set_of_twenty():
    claimed = []
    for trial in range(150):
        test = images(200, seed=trial, views=("PA",))
        test["patient_id"] = np.arange(200).astype(str)
        found = table(test, {"real": 1.0}, seeds=1, bootstrap=200)
        claimed.append(row(found[found["attribute"] == "sex"], "real", "gap")["low"] > 0)
    assert 0.01 <= np.mean(claimed) <= 0.11


def test_a_gap_among_three_groups_is_given_more_room():
    three = images(900, views=("AP", "PA", "LL"))
    gap = row(
        table(three, {"real": 1.0}, bootstrap=1000).query("attribute == 'view'"), "real", "gap"
    )
    values = table(three, {"real": 1.0}).query("attribute == 'view' and group != 'gap'")
    assert gap["value"] == pytest.approx(values["value"].max() - values["value"].min())
    assert gap["n_images"] == len(three)
    # At 98.3 % instead of 95 % an interval is 1.22 times as wide.
    widths = (values["high"] - values["low"]).to_numpy()
    alone = np.sqrt(np.square(np.sort(widths)[[0, -1]]).sum())
    assert gap["high"] - gap["low"] == pytest.approx(1.22 * alone, rel=0.2)


def test_groups_and_classes_of_few_patients_are_left_out_and_named(caplog):
    test = images()
    test.loc[: 2 * SMALLEST - 3, "view"] = "lateral"  # one patient short
    women = test["sex"] == "F"
    test.loc[women & (test["class_id"] == 2), "class_id"] = 0
    test.loc[test.index[women][:3], "class_id"] = 2
    with caplog.at_level(logging.INFO, logger="synthorax"):
        groups = find_groups(test, CLASSES)
    assert [(group.attribute, group.name) for group in groups] == [
        ("view", "AP"),
        ("view", "PA"),
        ("sex", "F"),
        ("sex", "M"),
    ]
    assert {group.classes for group in groups if group.attribute == "sex"} == {(0, 1)}
    assert f"view lateral: {SMALLEST - 1} test patients" in caplog.text
    assert "by sex, too few test patients of Nodule" in caplog.text


def test_where_nothing_is_known_of_patients_the_table_is_empty():
    test = images().assign(sex=None, view=None)
    found = table(test, {"real": 1.0, "other": 1.0})
    assert found.empty
    assert list(found.columns) == list(SUBGROUPS.columns)
