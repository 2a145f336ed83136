"""The filter: which images take part, and why the others do not."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.findings import column_name, single_finding
from workflow_scripts.common.schemas import COHORT, EXCLUSIONS
from workflow_scripts.common.tables import read_table
from workflow_scripts.curate.filter_cohort import (
    CONTRADICTION,
    NONE,
    OTHER,
    SEVERAL,
    divided,
    filter_cohort,
)
from workflow_scripts.curate.parse_labels import parse_labels

CLASSES = ["No Finding", "Atelectasis", "Cardiomegaly", "Effusion", "Pneumonia", "Pneumothorax"]
COLUMNS = ["no_finding", "effusion", "pleural_thickening", "mass"]


def labels(flags) -> pd.DataFrame:
    flags = pd.DataFrame(flags, columns=COLUMNS, dtype=bool)
    count = len(flags)
    people = {
        "image_id": [f"{number}.png" for number in range(count)],
        "patient_id": [str(number // 2) for number in range(count)],
        "age_years": np.full(count, 50.0),
        "sex": ["F"] * count,
        "view": ["PA"] * count,
    }
    return pd.concat([pd.DataFrame(people), flags], axis=1)


# An image of each of the classes of the tests, so that none is missing.
BOTH = [[True, False, False, False], [False, True, False, False]]


def test_each_reason_of_exclusion():
    table = labels([*BOTH, [0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 0, 0]])
    cohort, exclusions = divided(table, ["Effusion", "No Finding"])
    assert list(cohort["class_id"]) == [1, 0]
    assert list(cohort["class_name"]) == ["No Finding", "Effusion"]
    assert [tuple(row) for row in exclusions[["reason", "detail"]].to_numpy()] == [
        (SEVERAL, "Effusion|Pleural Thickening"),
        (OTHER, "Mass"),
        (NONE, ""),
        (SEVERAL, "No Finding|Effusion"),
    ]


@settings(deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), max_size=30))
def test_cohort_and_exclusions_are_the_labels(flags):
    table = labels([*BOTH, *flags])
    cohort, exclusions = divided(table, ["No Finding", "Effusion"])
    together = pd.concat([cohort["image_id"], exclusions["image_id"]])
    assert sorted(together) == sorted(table["image_id"])
    single = table.loc[cohort.index, COLUMNS]
    assert (single.sum(axis=1) == 1).all()
    assert (single["effusion"].astype(int) == cohort["class_id"]).all()
    assert single_finding(cohort).all()


FLAGS = st.lists(st.lists(st.booleans(), min_size=4, max_size=4), max_size=30)
THREE = ["Mass", "No Finding", "Effusion"]
OWN = [*BOTH, [False, False, False, True]]


@settings(deadline=None)
@given(FLAGS)
def test_with_several_findings_the_cohort_is_what_the_classes_can_say(flags):
    table = labels([*OWN, *flags])
    cohort, exclusions = divided(table, THREE, several=True)
    together = pd.concat([cohort["image_id"], exclusions["image_id"]])
    assert sorted(together) == sorted(table["image_id"])
    stated = table.set_index("image_id")[COLUMNS]
    shown = {name: {*row.index[row]} for name, row in stated.iterrows()}
    columns = [column_name(name) for name in THREE]
    held = pd.Series({name: sum(name in shown[i] for i in cohort["image_id"]) for name in columns})
    for image in cohort.itertuples():
        named = image.findings.split("|")
        assert named == [name for name in THREE if column_name(name) in shown[image.image_id]]
        assert {column_name(name) for name in named} == shown[image.image_id]
        rarest = min(named, key=lambda name: (held[column_name(name)], THREE.index(name)))
        assert (image.class_name, THREE[image.class_id]) == (rarest, rarest)
    for image, reason in exclusions[["image_id", "reason"]].itertuples(index=False):
        found = shown[image]
        assert reason == (
            NONE
            if not found
            else CONTRADICTION
            if "no_finding" in found and len(found) > 1
            else OTHER
        )
        assert reason != OTHER or not found <= {*columns}


@settings(deadline=None)
@given(FLAGS)
def test_images_with_one_finding_are_the_same_either_way(flags):
    table = labels([*OWN, *flags])
    single, _ = divided(table, THREE)
    several, _ = divided(table, THREE, several=True)
    pd.testing.assert_frame_equal(several[single_finding(several)], single)


def test_a_class_that_never_stands_alone_is_refused_with_several_findings_too():
    table = labels([*BOTH, [0, 1, 0, 1]])
    with pytest.raises(InputError, match="exactly one finding that is Mass"):
        divided(table, THREE, several=True)


def test_a_class_without_images_is_refused_with_what_there_is():
    table = labels([*BOTH, [0, 0, 0, 1], [0, 0, 0, 1]])
    with pytest.raises(InputError, match=r"is Pneumonia\. .* Effusion \(1\), Mass \(2\), No Find"):
        divided(table, ["No Finding", "Pneumonia"])


def test_classes_keep_their_own_spelling():
    cohort, _ = divided(labels(BOTH), ["NO finding", "Effusion"])
    assert list(cohort["class_name"]) == ["NO finding", "Effusion"]


@pytest.fixture(scope="module")
def curated(shared, tmp_path_factory):
    """Label table to cohort, for a table of the shared data."""

    def run(table, several=False):
        folder = tmp_path_factory.mktemp("curated")
        names = ("labels", "issues", "cohort", "exclusions")
        paths = {name: folder / f"{name}.parquet" for name in names}
        parse_labels(shared / table, paths["labels"], paths["issues"])
        filter_cohort(paths["labels"], paths["cohort"], paths["exclusions"], CLASSES, several)
        return read_table(paths["cohort"], COHORT), read_table(paths["exclusions"], EXCLUSIONS)

    return run


def test_facts_of_nih_mini(shared, curated):
    facts = json.loads((shared / "nih-mini" / "facts.json").read_text())
    cohort, exclusions = curated("nih-mini/Data_Entry_2017_v2020.csv")
    assert len(cohort) + len(exclusions) == facts["images"]
    assert len(cohort) + (exclusions["reason"] == OTHER).sum() == facts["single_label"]
    assert len(cohort) == facts["six_class_images"]
    assert cohort["patient_id"].nunique() == facts["six_class_patients"]
    assert cohort["class_name"].value_counts().to_dict() == facts["six_class"]


def test_facts_of_the_whole_table(curated):
    cohort, exclusions = curated("nih-labels/Data_Entry_2017_v2020.csv.gz")
    assert len(cohort) + len(exclusions) == 112_120
    assert len(cohort) + (exclusions["reason"] == OTHER).sum() == 91_324
    assert len(cohort) == 72_140
    assert cohort["patient_id"].nunique() == 26_316
    assert cohort["view"].value_counts().to_dict() == {"PA": 46_026, "AP": 26_114}
    assert [int(n) for n in cohort["class_id"].value_counts(sort=False).sort_index()] == [
        60_361, 4_215, 1_093, 3_955, 322, 2_194,
    ]  # fmt: skip
    assert (cohort.groupby("patient_id")["class_id"].nunique() > 1).sum() == 4_060


def test_several_findings_in_the_whole_table(curated):
    cohort, exclusions = curated("nih-labels/Data_Entry_2017_v2020.csv.gz", several=True)
    assert len(cohort) + len(exclusions) == 112_120
    assert single_finding(cohort).sum() == 72_140
    assert exclusions["reason"].value_counts().to_dict() == {OTHER: 37_198}
    # Counted from the CSV by hand: of each pair the finding that fewer of the 74,922 carry.
    assert cohort.loc[~single_finding(cohort), "class_name"].value_counts().to_dict() == {
        "Atelectasis": 1_167,
        "Pneumothorax": 743,
        "Cardiomegaly": 655,
        "Pneumonia": 217,
    }
