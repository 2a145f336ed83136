"""The split: by patient, complete, in the fractions asked for; and the check that stands behind it."""

import json
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.findings import column_name
from workflow_scripts.common.schemas import COHORT, LABELS, METADATA, SPLITS
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.curate import splitting
from workflow_scripts.curate.check_leaks import check_leaks
from workflow_scripts.curate.filter_cohort import filter_cohort
from workflow_scripts.curate.join_metadata import join_metadata
from workflow_scripts.curate.parse_labels import parse_labels
from workflow_scripts.curate.split_patients import split_patients

FRACTIONS = {"train": 0.8, "val": 0.1, "test": 0.1}
QUICK = settings(max_examples=40, deadline=None)
NAMES = ["No Finding", "Effusion", "Pneumonia"]


def cohort(rows) -> pd.DataFrame:
    """A cohort from (patient, class) pairs, one per image."""
    patients, classes = [str(patient) for patient, _ in rows], [number for _, number in rows]
    return pd.DataFrame(
        {
            "image_id": [f"{number:05d}.png" for number in range(len(rows))],
            "patient_id": patients,
            "class_id": np.array(classes, dtype="int64"),
            "class_name": [NAMES[number] for number in classes],
            "findings": [NAMES[number] for number in classes],
            "age_years": 50.0,
            "sex": "F",
            "view": "PA",
        }
    )


def drawn(patients: int, seed: int = 0) -> pd.DataFrame:
    """A cohort of some patients with one to six images of one or two classes."""
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(patients):
        classes = rng.choice(3, size=2, p=[0.7, 0.2, 0.1])
        rows += [(patient, classes[rng.integers(2)]) for _ in range(rng.integers(1, 7))]
    return cohort(rows)


COHORTS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), min_size=1, max_size=120).map(
    cohort
)
SHARES = st.tuples(*[st.integers(1, 20)] * 3).map(
    lambda parts: dict(zip(SPLITS, np.array(parts) / sum(parts), strict=True))
)
WAYS = {"stratified": splitting.stratified, "hash": splitting.hashed}


# -- properties ------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@QUICK
@given(images=COHORTS, fractions=SHARES, seed=st.integers(0, 5))
def test_every_image_is_in_one_split_and_every_patient_too(way, images, fractions, seed):
    split = WAYS[way](images, fractions, seed)
    assert set(split) <= set(SPLITS)
    assert (split.groupby(images["patient_id"]).nunique() == 1).all()


@pytest.mark.parametrize("way", WAYS)
@QUICK
@given(images=COHORTS, fractions=SHARES, order=st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(way, images, fractions, order):
    shuffled = images.sample(frac=1, random_state=order.randrange(2**31))
    one, other = WAYS[way](images, fractions, 1), WAYS[way](shuffled, fractions, 1)
    assert (one == other.reindex(one.index)).all()


@QUICK
@given(
    patients=st.lists(st.tuples(st.integers(1, 12), st.integers(0, 2)), min_size=1, max_size=60),
    fractions=SHARES,
    seed=st.integers(0, 5),
)
def test_a_share_is_missed_by_a_few_patients_at_most(patients, fractions, seed):
    rows = [(who, label) for who, (count, label) in enumerate(patients) for _ in range(count)]
    images = cohort(rows)
    split = splitting.stratified(images, fractions, seed)
    for label, part in images.groupby("class_id"):
        most = part.groupby("patient_id").size().max()
        counts = split[part.index].value_counts()
        for name, fraction in fractions.items():
            # Half a patient at each of two cuts, and up to three moved so that each split has one.
            assert abs(counts.get(name, 0) - fraction * len(part)) <= 4 * most, label
        if part["patient_id"].nunique() >= 3:
            assert set(split[part.index]) == set(SPLITS)


@pytest.mark.parametrize("way", WAYS)
def test_fractions_of_many_patients(way):
    images = drawn(3000)
    split = WAYS[way](images, FRACTIONS, 1)
    shares = pd.crosstab(images["class_id"], split, normalize="index")[list(SPLITS)]
    bound = 0.005 if way == "stratified" else 0.03
    assert (abs(shares - list(FRACTIONS.values())) < bound).all(axis=None)


@pytest.mark.parametrize("way", WAYS)
def test_seeds(way):
    images = drawn(200)
    first = WAYS[way](images, FRACTIONS, 1)
    assert (first == WAYS[way](images, FRACTIONS, 1)).all()
    assert (first != WAYS[way](images, FRACTIONS, 2)).any()


def test_hash_keeps_a_patients_split_when_the_data_grow():
    grown = drawn(300)
    some = grown[grown["patient_id"].astype(int) % 3 == 0]
    now, then = splitting.hashed(grown, FRACTIONS, 1), splitting.hashed(some, FRACTIONS, 1)
    assert (now[some.index] == then).all()


def test_shares_already_dealt_with_a_rarer_class_are_counted():
    # Each holder of the rare class holds many images of the common one.
    rows = [(who, label) for who in range(10) for label in [2] + [0] * 20]
    rows += [(who, 0) for who in range(10, 400)]
    images = cohort(rows)
    split = splitting.stratified(images, FRACTIONS, 3)
    common = split[images["class_id"] == 0].value_counts(normalize=True)
    assert common["test"] == pytest.approx(0.1, abs=0.01)


# -- folds -----------------------------------------------------------------------------------------


@QUICK
@given(images=COHORTS, folds=st.integers(3, 7), seed=st.integers(0, 5))
def test_over_the_folds_every_patient_is_test_once_and_validation_once(images, folds, seed):
    splits = [splitting.one_fold(images, folds, fold, seed) for fold in range(folds)]
    for split in splits:
        assert set(split) <= set(SPLITS)
        assert (split.groupby(images["patient_id"]).nunique() == 1).all()
    table = pd.DataFrame(dict(enumerate(splits)))
    for name, times in (("test", 1), ("val", 1), ("train", folds - 2)):
        assert ((table == name).sum(axis=1) == times).all(), name
    for fold, split in enumerate(splits):  # the same parts, whichever is the test
        assert ((split == "val") == (splits[(fold + 1) % folds] == "test")).all()


@QUICK
@given(images=COHORTS, order=st.randoms(use_true_random=False))
def test_folds_do_not_depend_on_the_order_of_rows(images, order):
    shuffled = images.sample(frac=1, random_state=order.randrange(2**31))
    one, other = (splitting.one_fold(part, 5, 2, 1) for part in (images, shuffled))
    assert (one == other.reindex(one.index)).all()


@QUICK
@given(
    patients=st.lists(st.tuples(st.integers(1, 12), st.integers(0, 2)), min_size=1, max_size=60),
    folds=st.integers(3, 6),
)
def test_a_fold_misses_its_share_of_a_class_by_a_few_patients_at_most(patients, folds):
    rows = [(who, label) for who, (count, label) in enumerate(patients) for _ in range(count)]
    images = cohort(rows)
    splits = [splitting.one_fold(images, folds, fold, 1) for fold in range(folds)]
    for label, part in images.groupby("class_id"):
        most = part.groupby("patient_id").size().max()
        for split in splits:
            tested = (split[part.index] == "test").sum()
            # Half a patient at each of two cuts, and up to one per fold moved so that each has one.
            assert abs(tested - len(part) / folds) <= (1 + folds) * most, label
            assert tested or part["patient_id"].nunique() < folds


@pytest.mark.parametrize("folds", [3, 5, 10])
def test_folds_of_many_patients_are_equal_in_every_class(folds):
    images = drawn(3000)
    for fold in range(folds):
        split = splitting.one_fold(images, folds, fold, 1)
        shares = pd.crosstab(images["class_id"], split, normalize="index")
        assert (abs(shares[["val", "test"]] - 1 / folds) < 0.006).all(axis=None)


def test_another_seed_is_a_repeat():
    images = drawn(200)
    first, again, repeat = (splitting.one_fold(images, 5, 0, seed) for seed in (1, 1, 2))
    assert (first == again).all()
    both = ((first == "test") & (repeat == "test")).sum() / (first == "test").sum()
    assert both < 0.5


# -- official lists --------------------------------------------------------------------------------


@QUICK
@given(images=COHORTS, seed=st.integers(0, 3), part=st.integers(2, 4))
def test_official_lists_are_followed(images, seed, part):
    listed = images["patient_id"].astype(int) % part == 0
    train_val, test = images["image_id"][~listed], images["image_id"][listed]
    split = splitting.official(images, train_val, test, FRACTIONS, seed)
    assert ((split == "test") == listed).all()
    assert (split.groupby(images["patient_id"]).nunique() == 1).all()


def test_official_validation_has_its_share_of_the_training_list():
    images = drawn(2000)
    listed = images["patient_id"].astype(int) % 2 == 0
    lists = images["image_id"][~listed], images["image_id"][listed]
    split = splitting.official(images, *lists, {"train": 0.6, "val": 0.2, "test": 0.2}, 1)
    assert (split[~listed] == "val").mean() == pytest.approx(0.25, abs=0.005)


def test_an_official_list_for_validation_is_followed():
    images = cohort([(f"{n}", n % 2) for n in range(12)])
    ids = list(images["image_id"])
    split = splitting.official(images, ids[:8], ids[8:], FRACTIONS, 1, ids[5:8])
    assert list(split) == ["train"] * 5 + ["val"] * 3 + ["test"] * 4


def test_a_list_for_validation_is_part_of_the_training_list_and_shares_nobody_with_the_rest():
    images = cohort([("1", 0), ("1", 0), ("2", 1), ("3", 1)])
    ids = list(images["image_id"])
    with pytest.raises(InputError, match=r"1 images for validation do not stand on the training"):
        splitting.official(images, ids[:3], ids[3:], FRACTIONS, 1, ids[2:])
    with pytest.raises(
        InputError, match="1 patients stand on the list for validation and are in tr"
    ):
        splitting.official(images, ids[:3], ids[3:], FRACTIONS, 1, ids[1:3])


def test_a_patient_on_both_official_lists_is_refused():
    images = cohort([(1, 0), (1, 0), (2, 0)])
    ids = list(images["image_id"])
    with pytest.raises(InputError, match=r"1 patients stand on both official lists: 1\."):
        splitting.official(images, [ids[0], ids[2]], [ids[1]], FRACTIONS, 1)
    with pytest.raises(InputError, match="both official lists: 2"):
        splitting.official(images, ids, [ids[2]], FRACTIONS, 1)


def test_an_image_on_no_official_list_is_refused():
    images = cohort([(1, 0), (2, 0), (3, 0)])
    with pytest.raises(InputError, match=r"1 images .* neither official list: 00002\.png"):
        splitting.official(images, ["00000.png"], ["00001.png"], FRACTIONS, 1)


# -- the steps -------------------------------------------------------------------------------------


@pytest.fixture
def split_on_disk(tmp_path):
    """Labels, cohort and splits of a small data set, as files."""
    images = drawn(60)
    people = images[["image_id", "patient_id", "age_years", "sex", "view"]]
    findings = {column_name(name): images["class_name"] == name for name in NAMES}
    write_table(people.assign(**findings), tmp_path / "labels.parquet", LABELS)
    write_table(images, tmp_path / "cohort.parquet", COHORT)
    splits = {name: tmp_path / "splits" / f"{name}.csv" for name in SPLITS}
    split_patients(tmp_path / "cohort.parquet", splits, "stratified", 1, FRACTIONS)
    return tmp_path, splits


def check(folder, splits):
    report = folder / "split_report.json"
    settings = {"method": "stratified", "seed": 1}
    try:
        check_leaks(folder / "labels.parquet", folder / "cohort.parquet", splits, report, settings)
    except InputError as error:
        assert not report.exists()
        return str(error)
    return json.loads(report.read_text())


def test_report_counts_what_is_in_the_files(split_on_disk):
    folder, splits = split_on_disk
    report = check(folder, splits)
    assert report["patients_shared_between_splits"] == 0
    assert report["method"] == "stratified"
    for name in SPLITS:
        part = pd.read_csv(splits[name], dtype={"patient_id": str})
        assert list(report["images"][name]) == [*NAMES, "all"]
        assert report["images"][name]["all"] == len(part)
        assert report["patients"][name]["all"] == part["patient_id"].nunique()
        one = part[part["class_name"] == "Effusion"]
        assert report["images"][name]["Effusion"] == len(one)
        assert report["patients"][name]["Effusion"] == one["patient_id"].nunique()


def test_metadata_is_the_cohort_with_its_split(split_on_disk):
    folder, splits = split_on_disk
    join_metadata(folder / "cohort.parquet", splits, folder / "metadata.parquet")
    metadata = read_table(folder / "metadata.parquet", METADATA)
    assert list(metadata["image_id"]) == sorted(
        read_table(folder / "cohort.parquet", COHORT)["image_id"]
    )
    for name in SPLITS:
        ids = pd.read_csv(splits[name])["image_id"]
        assert set(metadata.loc[metadata["split"] == name, "image_id"]) == set(ids)


@pytest.mark.parametrize("column", ["class_id", "class_name"])
def test_a_cohort_whose_classes_are_not_those_of_the_labels_is_refused(split_on_disk, column):
    folder, splits = split_on_disk
    images = read_table(folder / "cohort.parquet", COHORT)
    others = images[column].drop_duplicates().tolist()
    images.loc[0, column] = next(value for value in others if value != images.loc[0, column])
    write_table(images, folder / "cohort.parquet", COHORT)
    split_patients(folder / "cohort.parquet", splits, "stratified", 1, FRACTIONS)
    message = check(folder, splits)
    expected = {"class_id": "more than one class_name", "class_name": "another class or other find"}
    assert expected[column] in message


def test_an_image_of_several_findings_must_have_them_all_in_the_labels(split_on_disk):
    folder, splits = split_on_disk
    images, labels = (
        read_table(folder / f"{name}.parquet", schema)
        for name, schema in (("cohort", COHORT), ("labels", LABELS))
    )
    image = images["image_id"][0]
    images.loc[0, "findings"] = "|".join(
        name for name in NAMES if name in (images["class_name"][0], "Effusion", "Pneumonia")
    )
    write_table(images, folder / "cohort.parquet", COHORT)
    assert f"other findings in the labels: {image}" in check(folder, splits)
    columns = [column_name(name) for name in images["findings"][0].split("|")]
    labels.loc[labels["image_id"] == image, columns] = True
    more = labels.copy()
    more.loc[more["image_id"] == image, "no_finding"] ^= True
    write_table(more, folder / "labels.parquet", LABELS)
    assert f"other findings in the labels: {image}" in check(folder, splits)
    write_table(labels, folder / "labels.parquet", LABELS)
    assert check(folder, splits)["patients_shared_between_splits"] == 0


def lines_of(path):
    header, *rows = path.read_text().splitlines()
    return header, rows


def write_lines(path, header, rows):
    path.write_text("\n".join([header, *rows]) + "\n")


def crowded(splits):
    """The number and text of a row in training whose patient has another row there."""
    _, rows = lines_of(splits["train"])
    patients = [row.split(",")[1] for row in rows]
    return next(number for number, who in enumerate(patients) if patients.count(who) > 1)


def test_a_row_moved_to_another_split_is_a_leak(split_on_disk):
    _, splits = split_on_disk
    header, rows = lines_of(splits["train"])
    moved = rows.pop(crowded(splits))
    write_lines(splits["train"], header, rows)
    write_lines(splits["test"], header, [*lines_of(splits["test"])[1], moved])
    assert f"1 patients are in more than one split: {moved.split(',')[1]} (" in check(
        *split_on_disk
    )


def test_a_leak_under_another_patients_name_is_found(split_on_disk):
    folder, splits = split_on_disk
    header, rows = lines_of(splits["train"])
    image, patient, *rest = rows.pop(crowded(splits)).split(",")
    write_lines(splits["train"], header, rows)
    renamed = ",".join([image, "stranger", *rest])
    write_lines(splits["test"], header, [*lines_of(splits["test"])[1], renamed])
    message = check(folder, splits)
    assert f"1 patients are in more than one split: {patient} (" in message
    assert f"another patient_id in the labels: {image}" in message


def test_a_row_dropped(split_on_disk):
    folder, splits = split_on_disk
    header, (first, *rest) = lines_of(splits["val"])
    write_lines(splits["val"], header, rest)
    assert f"1 images of the cohort are in no split: {first.split(',')[0]}" in check(folder, splits)


def test_a_row_repeated_in_another_split(split_on_disk):
    folder, splits = split_on_disk
    header, (first, *_) = lines_of(splits["val"])
    write_lines(splits["test"], header, [*lines_of(splits["test"])[1], first])
    image, patient, *_ = first.split(",")
    message = check(folder, splits)
    assert f"1 images are in more than one split: {image} (val and test)" in message
    assert f"1 patients are in more than one split: {patient} (val and test)" in message


def test_a_row_repeated_in_its_split(split_on_disk):
    folder, splits = split_on_disk
    header, rows = lines_of(splits["val"])
    write_lines(splits["val"], header, [*rows, rows[0]])
    assert "splits/val.csv does not fit its schema" in check(folder, splits)


def test_a_stranger_among_the_images(split_on_disk):
    folder, splits = split_on_disk
    header, rows = lines_of(splits["val"])
    write_lines(splits["val"], header, [*rows, "x.png,1000,0,No Finding"])
    assert "1 images in the splits are not of the cohort: x.png" in check(folder, splits)


def test_a_class_changed(split_on_disk):
    folder, splits = split_on_disk
    header, rows = lines_of(splits["val"])
    image, patient, number, _ = rows[0].split(",")
    other = (int(number) + 1) % 3
    write_lines(splits["val"], header, [f"{image},{patient},{other},{NAMES[other]}", *rows[1:]])
    assert f"1 images have another class_id in the cohort: {image}" in check(folder, splits)


def test_a_class_missing_in_a_split_is_refused(tmp_path):
    rows = [(who, 0) for who in range(20)] + [(50, 1), (51, 1), (51, 1)]
    write_table(cohort(rows), tmp_path / "cohort.parquet", COHORT)
    splits = {name: tmp_path / f"{name}.csv" for name in SPLITS}
    with pytest.raises(InputError) as error:
        split_patients(tmp_path / "cohort.parquet", splits, "stratified", 1, FRACTIONS)
    assert "Effusion has no image in" in str(error.value)
    assert "it has 3 images of 2 patients" in str(error.value)
    assert "cohort.classes" in str(error.value)
    assert not any(path.exists() for path in splits.values())


def test_folds_are_written_and_a_class_of_too_few_patients_is_told_how_many(tmp_path):
    rows = [(who, 0) for who in range(20)] + [(50 + who, 1) for who in range(4)]
    splits = {name: tmp_path / f"{name}.csv" for name in SPLITS}
    write_table(cohort(rows), tmp_path / "cohort.parquet", COHORT)
    with pytest.raises(InputError) as error:
        split_patients(tmp_path / "cohort.parquet", splits, "folds", 1, folds=9, fold=0)
    assert "it has 4 images of 4 patients\nA class needs 9 patients at least." in str(error.value)
    assert "use fewer split.folds or another split.seed." in str(error.value)
    assert not any(path.exists() for path in splits.values())
    tested = []
    for fold in range(4):
        split_patients(tmp_path / "cohort.parquet", splits, "folds", 1, folds=4, fold=fold)
        tested += list(pd.read_csv(splits["test"])["image_id"])
    assert sorted(tested) == sorted(cohort(rows)["image_id"])


def test_an_image_of_several_findings_fills_no_gap(tmp_path):
    images = cohort([(who, label) for who in range(60) for label in range(2)])
    write_table(images, tmp_path / "cohort.parquet", COHORT)
    splits = {name: tmp_path / f"{name}.csv" for name in SPLITS}
    split_patients(tmp_path / "cohort.parquet", splits, "stratified", 1, FRACTIONS)
    tested = images["image_id"].isin(pd.read_csv(splits["test"])["image_id"])
    images.loc[tested & (images["class_name"] == "Effusion"), "findings"] = "Effusion|Pneumonia"
    write_table(images, tmp_path / "cohort.parquet", COHORT)
    with pytest.raises(InputError, match=r"Effusion has no image in test; it has 54 images of 54"):
        split_patients(tmp_path / "cohort.parquet", splits, "stratified", 1, FRACTIONS)
    images.loc[images["class_name"] == "Effusion", "findings"] = "Effusion|Pneumonia"
    write_table(images, tmp_path / "cohort.parquet", COHORT)
    with pytest.raises(InputError) as error:
        split_patients(tmp_path / "cohort.parquet", splits, "stratified", 1, FRACTIONS)
    assert "no image in train and val and test; it has 0 images of 0 patients" in str(error.value)
    assert "and no other finding; those alone count" in str(error.value)


def test_official_lists_are_read_from_files(tmp_path):
    images = drawn(200)
    write_table(images, tmp_path / "cohort.parquet", COHORT)
    listed = images["patient_id"].astype(int) % 5 == 0
    for name, ids in (("test", images["image_id"][listed]), ("train", images["image_id"][~listed])):
        (tmp_path / f"{name}.txt").write_text("\r\n".join([*ids, ""]))
    splits = {name: tmp_path / f"{name}.csv" for name in SPLITS}
    lists = tmp_path / "train.txt", tmp_path / "test.txt"
    split_patients(tmp_path / "cohort.parquet", splits, "official", 1, FRACTIONS, *lists)
    assert set(pd.read_csv(splits["test"])["image_id"]) == set(images["image_id"][listed])


def test_same_cohort_same_bytes(tmp_path):
    images = drawn(80)
    for name, table in (("a", images), ("b", images.sample(frac=1, random_state=1))):
        write_table(table, tmp_path / f"{name}.parquet", COHORT)
        splits = {split: tmp_path / name / f"{split}.csv" for split in SPLITS}
        split_patients(tmp_path / f"{name}.parquet", splits, "stratified", 1, FRACTIONS)
    for split in SPLITS:
        one, other = (tmp_path / name / f"{split}.csv" for name in "ab")
        assert one.read_bytes() == other.read_bytes()


def test_the_whole_table_in_seconds(shared, tmp_path):
    classes = ["No Finding", "Atelectasis", "Cardiomegaly", "Effusion", "Pneumonia", "Pneumothorax"]
    names = ("labels", "issues", "cohort", "exclusions")
    labels, issues, kept, dropped = (tmp_path / f"{name}.parquet" for name in names)
    splits = {name: tmp_path / f"{name}.csv" for name in SPLITS}
    start = time.process_time()  # of the processor: other work on the machine does not count
    parse_labels(shared / "nih-labels" / "Data_Entry_2017_v2020.csv.gz", labels, issues)
    filter_cohort(labels, kept, dropped, classes)
    split_patients(kept, splits, "stratified", 2017, FRACTIONS)
    assert time.process_time() - start < 10
    check_leaks(labels, kept, splits, tmp_path / "report.json", {})
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["patients_shared_between_splits"] == 0
    for name, fraction in FRACTIONS.items():
        counts = report["images"][name]
        assert counts["Pneumonia"] == pytest.approx(322 * fraction, abs=3)
        assert counts["all"] == pytest.approx(72_140 * fraction, rel=0.005)
