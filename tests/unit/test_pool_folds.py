"""Cross-validation: folds judged one by one, averaged rightly, and refused where they do not fit."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, recall_score, roc_auc_score

from tests.unit.test_summarise_study import (
    CLASSES,
    PRIMARY,
    images_of_patients,
    predicted,
    row,
    write_predictions,
)
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import MACRO, POOLED_SUMMARY, SUMMARY
from workflow_scripts.common.tables import read_table
from workflow_scripts.study.folds import Fold, read_fold, repeats
from workflow_scripts.study.measures import names
from workflow_scripts.study.pool_folds import PooledMeasures, pool, pool_folds
from workflow_scripts.study.summarise_study import summarise

ARMS = {"real": 0.6, "better": 1.0}


def dealt(images, folds, seed=0):
    """The images of each fold: patients dealt at random."""
    patients = images["patient_id"].unique()
    part = dict(
        zip(patients, np.random.default_rng(seed).permutation(len(patients)) % folds, strict=True)
    )
    number = images["patient_id"].map(part)
    return [images[number == fold].reset_index(drop=True) for fold in range(folds)]


def repeat_of(images, folds, seed=0, skills=ARMS, seeds=2):
    """The folds of one repeat, each with predictions of its own."""
    return [
        Fold(
            f"fold-{fold}-{seed}",
            seed,
            folds,
            fold,
            test,
            np.array(
                [
                    [predicted(test, skill, 100 * seed + 10 * fold + k) for k in range(seeds)]
                    for skill in skills.values()
                ]
            ),
        )
        for fold, test in enumerate(dealt(images, folds, seed))
    ]


def pooled(groups, bootstrap=300):
    return POOLED_SUMMARY.validate(pool(groups, list(ARMS), "real", PRIMARY, bootstrap, CLASSES))


# -- the measures ----------------------------------------------------------------------------------


def naive(folds, weights, class_ids):
    """The measures of one repeat, from copies of each image: {(metric, class): value}."""
    found = {name: [] for name in names(["0", "1", "2"])}
    shares = {name: [] for name in found}
    recalls = {k: [] for k in range(3)}
    for rows, probabilities in folds:
        copies = np.repeat(np.arange(len(rows)), weights[rows].astype(int))
        truth, scores = class_ids[rows][copies], probabilities[copies]
        for k in range(3):
            positive = truth == k
            for metric, measure, share in (
                ("auroc", roc_auc_score, positive.sum() * (~positive).sum()),
                ("auprc", average_precision_score, positive.sum()),
            ):
                if share:
                    found[metric, str(k)].append(measure(positive, scores[:, k]))
                    shares[metric, str(k)].append(share)
            recalls[k] += list(scores.argmax(axis=1)[positive] == k)
        found["brier", MACRO].append(
            np.square(scores - np.eye(3)[truth]).sum(axis=1).mean() if len(truth) else 0
        )
        shares["brier", MACRO].append(len(truth))
    values = {name: np.average(v, weights=shares[name]) for name, v in found.items() if v}
    for metric in ("auroc", "auprc"):
        values[metric, MACRO] = np.mean([values[metric, str(k)] for k in range(3)])
    values["balanced_accuracy", MACRO] = np.mean([np.mean(recalls[k]) for k in range(3)])
    return values


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), folds=st.integers(1, 5), count=st.integers(1, 3))
def test_the_measures_are_those_of_a_plain_loop(seed, folds, count):
    images = images_of_patients(150, 70, seed)
    class_ids = images["class_id"].to_numpy()
    place = pd.Series(images.index, index=images["image_id"])
    groups = [
        [
            (place[f.test["image_id"]].to_numpy(), f.probabilities[0, 0])
            for f in repeat_of(images, folds, seed + number)
        ]
        for number in range(count)
    ]
    weights = np.random.default_rng(seed).integers(0, 3, size=(len(images), 2)).astype(np.float32)
    got = PooledMeasures(groups, class_ids)(weights)
    for column in range(2):
        loops = [naive(group, weights[:, column], class_ids) for group in groups]
        for place_, name in enumerate(names(["0", "1", "2"])):
            if name[0] != "calibration_error":
                expected = np.mean([loop[name] for loop in loops])
                assert got[place_, column] == pytest.approx(expected, abs=1e-9), name


def test_a_single_fold_is_judged_as_a_study_is():
    images = images_of_patients(300, 120)
    fold = repeat_of(images, 1)[0]
    found = pooled([[fold]])
    plain, _ = summarise(fold.test, fold.probabilities, list(ARMS), "real", PRIMARY, 300, CLASSES)
    same = [name for name in SUMMARY.columns if not name.startswith("delong")]
    pd.testing.assert_frame_equal(found[same], plain[same], rtol=1e-9, check_like=True)
    assert (found[["folds", "repeats"]] == 1).all(axis=None)


def test_balanced_accuracy_and_brier_are_those_of_all_images_together():
    images = images_of_patients(400, 150)
    folds = repeat_of(images, 4, seeds=1)
    found = pooled([folds])
    truth = np.concatenate([fold.test["class_id"] for fold in folds])
    scores = np.concatenate([fold.probabilities[1, 0] for fold in folds])
    recall = recall_score(truth, scores.argmax(axis=1), average="macro")
    assert row(found, "balanced_accuracy", MACRO, "better")["value"] == pytest.approx(recall)
    brier = np.square(scores - np.eye(3)[truth]).sum(axis=1).mean()
    assert row(found, "brier", MACRO, "better")["value"] == pytest.approx(brier)


def test_scores_of_different_folds_are_never_compared():
    # One fold's classifier scores the rare class twice as high: its order within is the same.
    images = images_of_patients(400, 150)
    folds = repeat_of(images, 3)
    louder = folds[0].probabilities * [1, 1, 0.3]
    louder[..., :2] += (1 - louder.sum(axis=-1, keepdims=True)) / 2
    others = [Fold(**(vars(folds[0]) | {"probabilities": louder})), *folds[1:]]
    together = [
        roc_auc_score(
            np.concatenate([fold.test["class_id"] == 2 for fold in group]),
            np.concatenate([fold.probabilities[1, 0][:, 2] for fold in group]),
        )
        for group in (folds, others)
    ]
    assert abs(together[0] - together[1]) > 0.005, "comparing scores would show it"
    columns = ["value", "low", "high", "difference", "difference_low", "difference_high"]
    one, other = (row(pooled([group]), "auroc", "Pneumonia", "better") for group in (folds, others))
    np.testing.assert_allclose(one[columns].astype(float), other[columns].astype(float))


# -- intervals -------------------------------------------------------------------------------------


def test_the_interval_of_a_rare_class_narrows_as_folds_are_pooled():
    images = images_of_patients(1000, 500)
    folds = repeat_of(images, 5)
    one, all_ = (
        row(pooled([group]), "auroc", "Pneumonia", "better") for group in (folds[:1], folds)
    )
    assert all_["positives"] > 4 * one["positives"]
    for low, high in (("low", "high"), ("difference_low", "difference_high")):
        ratio = (all_[high] - all_[low]) / (one[high] - one[low])
        assert 0.3 < ratio < 0.65, "about one over the root of five"
    assert all_["n_patients"] == images["patient_id"].nunique()
    assert all_["folds"] == 5


def test_an_arm_against_its_equal_differs_by_exactly_nothing():
    skills = {"real": 1.0, "better": 1.0}
    images = images_of_patients(300, 120)
    found = pooled([repeat_of(images, 3, seed, skills) for seed in (1, 2)])
    other = found[found["arm"] == "better"]
    for column in ("difference", "difference_low", "difference_high", "difference_seed_sd"):
        assert (other[column] == 0).all()


def test_a_planted_gain_is_found_and_survives_holm():
    found = pooled([repeat_of(images_of_patients(), 3, skills={"real": 0.5, "better": 1.5})])
    other = found[(found["arm"] == "better") & found["metric"].isin(["auroc", "auprc"])]
    assert (other["difference_low"] > 0).all()
    by_class = other[other["class_name"] != MACRO]
    assert (by_class["p_holm"] >= by_class["p_value"]).all()
    assert (by_class["p_holm"] < 0.05).all()
    assert found["primary"].sum() == 1


def test_a_repeat_is_no_new_patient():
    # The same predictions once more: nothing is learned, and no interval may narrow.
    images = images_of_patients(300, 120)
    folds = repeat_of(images, 3)
    once, twice = pooled([folds]), pooled([folds, folds])
    assert (once["repeats"] == 1).all()
    assert (twice["repeats"] == 2).all()
    pd.testing.assert_frame_equal(once.drop(columns="repeats"), twice.drop(columns="repeats"))


def test_a_fold_left_without_the_class_has_no_say_and_a_class_in_none_is_an_error():
    images = images_of_patients(300, 120)
    folds = repeat_of(images, 3)
    lacking = folds[0].test["class_id"] != 2
    bare = Fold(
        **(
            vars(folds[0])
            | {
                "test": folds[0].test[lacking].reset_index(drop=True),
                "probabilities": folds[0].probabilities[:, :, lacking],
            }
        )
    )
    with_it = row(pooled([[bare, *folds[1:]]]), "auroc", "Pneumonia", "real")
    without = row(pooled([folds[1:]]), "auroc", "Pneumonia", "real")
    assert with_it["value"] == pytest.approx(without["value"])
    with pytest.raises(InputError, match="no test image shows Pneumonia"):
        pooled([[bare]])


# -- files, and what is refused --------------------------------------------------------------------


def write_run(folder, name, fold, folds, seed, test, skills=ARMS, method="folds"):
    """A run as files: its data set's name, split report and predictions."""
    place = folder / name
    place.mkdir()
    report = {"method": method, "folds": folds, "fold": fold, "seed": seed}
    (place / "split_report.json").write_text(json.dumps(report))
    return name, place / "split_report.json", write_predictions(place, test, skills, [0, 1])


def write_runs(folder, images, seed=1, folds=3):
    return [
        write_run(folder, f"run-{seed}-{fold}", fold, folds, seed, test)
        for fold, test in enumerate(dealt(images, folds, seed))
    ]


def run(folder, runs, classes=CLASSES):
    folder.mkdir()
    datasets, reports, predictions = zip(*runs, strict=True)
    out = folder / "summary.parquet", folder / "forest.png"
    settings_ = (list(ARMS), "real", PRIMARY, [0, 1], 200, classes)
    pool_folds(reports, predictions, *out, datasets, *settings_, phantom=True)
    return out


def test_the_summary_comes_from_the_files_whatever_their_order(tmp_path):
    images = images_of_patients(150, 75)
    images.loc[:5, "sex"] = None
    runs = write_runs(tmp_path, images, 1) + write_runs(tmp_path, images, 2)
    first, second = run(tmp_path / "first", runs), run(tmp_path / "second", runs[::-1])
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    summary = read_table(first[0], POOLED_SUMMARY)
    assert len(summary) == 22
    assert (summary["repeats"] == 2).all()
    assert (summary["folds"] == 3).all()
    assert (summary["n_images"] == 150).all()
    assert first[1].stat().st_size > 10_000


def refused(folder, runs, message, classes=CLASSES):
    with pytest.raises(InputError, match=message):
        run(folder / "out", runs, classes)
    assert not list((folder / "out").iterdir())


def test_runs_with_other_arms_seeds_or_classes_are_refused(tmp_path):
    images = images_of_patients(150, 75)
    runs = write_runs(tmp_path, images)
    other = write_run(tmp_path, "other", 2, 3, 1, images[:30], {"real": 1.0, "worse": 1.0})
    refused(tmp_path, [*runs[:2], other], "data set other: no predictions of better, seed 0")
    (tmp_path / "out").rmdir()
    fewer = runs[2][0], runs[2][1], runs[2][2][:3]
    refused(tmp_path, [*runs[:2], fewer], "data set run-1-2: no predictions of better, seed 1")
    (tmp_path / "out").rmdir()
    refused(tmp_path, runs, "it has 0 No Finding, 1 Effusion, 2 Pneumonia by number", CLASSES[::-1])
    (tmp_path / "out").rmdir()
    refused(tmp_path, runs, "classes of run-1-0 are others", CLASSES[:2])


def test_a_run_that_is_no_fold_is_refused(tmp_path):
    images = images_of_patients(150, 75)
    runs = write_runs(tmp_path, images)
    plain = write_run(tmp_path, "plain", None, None, 1, images[:30], method="stratified")
    refused(tmp_path, [*runs, plain], "patients of plain were split by method stratified")


def test_folds_that_are_missing_doubled_or_of_another_number_are_refused(tmp_path):
    images = images_of_patients(150, 75)
    runs = write_runs(tmp_path, images)
    refused(tmp_path, runs[:2], "of the 3 folds of split.seed 1, 2 is missing")
    (tmp_path / "out").rmdir()
    again = write_run(tmp_path, "again", 1, 3, 1, images[:30])
    refused(tmp_path, [*runs, again], "again and run-1-1 are both fold 1 of split.seed 1")
    (tmp_path / "out").rmdir()
    of_four = write_run(tmp_path, "four", 3, 4, 1, images[:30])
    refused(tmp_path, [*runs, of_four], "different split.folds: run-1-0 3, .* four 4")


def test_a_patient_who_is_test_in_two_folds_is_refused(tmp_path):
    images = images_of_patients(150, 75)
    parts = dealt(images, 3, 1)
    strayed = parts[0][parts[0]["patient_id"] == parts[0]["patient_id"][0]]
    parts[2] = pd.concat([parts[2], strayed]).reset_index(drop=True)
    runs = [write_run(tmp_path, f"run-{k}", k, 3, 1, test) for k, test in enumerate(parts)]
    who = strayed["patient_id"].iloc[0]
    refused(tmp_path, runs, rf"1 patients .* both run-0 and run-2, .*: {who}\.")


def test_repeats_of_other_images_are_refused(tmp_path):
    images = images_of_patients(150, 75)
    first = [read_fold(*one, list(ARMS), [0, 1], CLASSES) for one in write_runs(tmp_path, images)]
    assert [len(group) for group in repeats(first)] == [3]
    for seed, other in ((2, images[:-1]), (3, images.assign(sex="F"))):
        runs = write_runs(tmp_path, other, seed)
        second = [read_fold(*one, list(ARMS), [0, 1], CLASSES) for one in runs]
        with pytest.raises(InputError, match=f"seed 1 and {seed} test different images"):
            repeats([*first, *second])
