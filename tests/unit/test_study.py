"""A study from its training to its figure: what it finds, and what it must not."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.several import with_several
from tests.unit.test_arms import CLASSES, drawn_images, real_images
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import IMAGES, PREDICTIONS, SAMPLES, SUMMARY
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.study.plot_study import caption, often_missed, plot_study
from workflow_scripts.study.summarise_study import summarise, summarise_study
from workflow_scripts.study.train_arm import train_arm

PRIMARY = {"arm": "better", "metric": "auroc"}
NUMBERS = ["value", "low", "high", "difference", "difference_low", "difference_high"]


def images_of_patients(count=600, patients=250, seed=0):
    rng = np.random.default_rng(seed)
    class_ids = rng.choice(3, count, p=[0.6, 0.3, 0.1])
    return pd.DataFrame(
        {
            "image_id": [f"{place:05d}" for place in range(count)],
            "patient_id": rng.integers(patients, size=count).astype(str),
            "class_id": class_ids,
            "class_name": np.array(CLASSES)[class_ids],
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
    return summarise(
        test, probabilities, list(skills), next(iter(skills)), PRIMARY, bootstrap, CLASSES
    )


def row(summary, metric, class_name, arm):
    found = summary.query("metric == @metric and class_name == @class_name and arm == @arm")
    assert len(found) == 1
    return found.iloc[0]


def test_an_arm_against_its_equal_differs_by_exactly_nothing():
    summary = study(images_of_patients(), {"real": 1.0, "better": 1.0})
    other = summary[summary["arm"] == "better"]
    for column in ("difference", "difference_low", "difference_high", "difference_seed_sd"):
        assert (other[column] == 0).all()


def test_a_planted_gain_is_found_in_every_class():
    summary = study(images_of_patients(), {"real": 0.5, "better": 1.5})
    other = summary[summary["arm"] == "better"]
    assert (other["difference_low"] > 0).all()
    assert (other["difference_low"] < other["difference"]).all()
    assert (other["difference"] < other["difference_high"]).all()


def test_pairing_makes_the_difference_surer_than_the_values():
    summary = study(images_of_patients(), {"real": 1.0, "better": 1.05})
    found = row(summary, "auroc", "macro", "better")
    assert found["difference_high"] - found["difference_low"] < (found["high"] - found["low"]) / 3


def test_the_difference_of_two_equally_good_arms_covers_nothing_as_often_as_promised():
    # Two independent trainings of the same skill: 200 studies, 95 % of whose intervals hold 0.
    covered = 0
    for trial in range(200):
        test = images_of_patients(200, 200, seed=trial)
        probabilities = np.array(
            [[predicted(test, 1, 1000 + trial)], [predicted(test, 1, 5000 + trial)]]
        )
        summary = summarise(test, probabilities, ["real", "better"], "real", PRIMARY, 200, CLASSES)
        found = row(summary, "auroc", "macro", "better")
        covered += found["difference_low"] <= 0 <= found["difference_high"]
    assert 0.90 <= covered / 200 <= 0.99


def test_the_summary_counts_and_names_what_it_rests_on():
    test = images_of_patients()
    summary = SUMMARY.validate(study(test, {"real": 1.0, "better": 1.2, "best": 1.4}, seeds=3))
    assert len(summary) == (2 * len(CLASSES) + 3) * 3
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
    assert found["seeds"] == 3
    assert summary.loc[summary["arm"] == "real", "difference"].isna().all()


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


def summarised(paths, out, bootstrap=200):
    arms = ["real", "better"]
    summarise_study(paths, out, arms, "real", PRIMARY, [0, 1], bootstrap, CLASSES)
    return out


def test_the_summary_comes_from_the_files_alone_whatever_their_order(tmp_path):
    test = images_of_patients(120, 60)
    paths = write_predictions(tmp_path, test, {"real": 0.5, "better": 1.0}, [0, 1])
    first = summarised(paths, tmp_path / "first.parquet")
    second = summarised(paths[::-1], tmp_path / "second.parquet")
    assert first.read_bytes() == second.read_bytes()
    assert len(read_table(first, SUMMARY)) == 18


def test_files_that_do_not_fit_together_are_refused(tmp_path):
    test = images_of_patients(120, 60)
    paths = write_predictions(tmp_path, test, {"real": 0.5, "better": 1.0}, [0, 1])
    with pytest.raises(InputError, match="no predictions of better, seed 1"):
        summarised(paths[:3], tmp_path / "summary.parquet")
    paths[3:] = write_predictions(tmp_path, test.iloc[1:], {"better": 1.0}, [1])
    with pytest.raises(InputError, match=r"better_seed1.* other test images"):
        summarised(paths, tmp_path / "summary.parquet")
    assert not (tmp_path / "summary.parquet").exists()


@pytest.mark.parametrize("rare", [False, True])
@pytest.mark.parametrize("arms", [1, 5])
def test_the_forest_plot_is_narrow_and_the_same_every_time(tmp_path, arms, rare):
    test = images_of_patients(120, 60)
    if rare:
        test = test[(test["class_id"] != 2) | ~test["class_id"].duplicated()].reset_index(drop=True)
    skills = {"real": 0.5, "better": 1.0} | {f"arm {place}": 0.6 for place in range(1, arms)}
    write_table(study(test, skills), tmp_path / "summary.parquet", SUMMARY)
    for name in ("first.png", "second.png"):
        plot_study(tmp_path / "summary.parquet", tmp_path / name, "real", 300, phantom=True)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
    width, height = Image.open(tmp_path / "first.png").size
    assert 900 <= width <= 1300
    assert height > width / 2


def test_resamples_are_judged_by_how_many_were_drawn_even_if_every_class_missed_some():
    test = images_of_patients(100, 100)
    test["class_id"] = np.r_[[0, 1], np.full(98, 2)]
    test["class_name"] = np.array(CLASSES)[test["class_id"]]
    test["patient_id"] = np.arange(100).astype(str)
    summary = study(test, {"real": 0.5, "better": 1.0})
    rows = summary.query("arm == 'better' and metric == 'auroc' and class_name != 'Pneumonia'")
    assert rows["resamples"].max() < 0.8 * 300
    rows = rows.assign(missed=often_missed(rows, 300))
    assert rows["missed"].all()
    assert "(300 resamples)" in caption(rows, 300).replace("\n", " ")
    full = study(images_of_patients(), {"real": 0.5, "better": 1.0})
    assert not often_missed(full, 300).any()


SETTINGS = {
    "backbone": "small",
    "steps": 30,
    "batch_size": 16,
    "learning_rate": 0.01,
    "weight_decay": 0.01,
}


def trained(folder, arm, synthetic, seed=0, settings=SETTINGS, several=False):
    """Predictions of an arm whose classes differ in brightness."""
    rng = np.random.default_rng(0)
    images, samples = real_images((12, 8, 6), held_out=6), drawn_images()
    write_table(with_several(images) if several else images, folder / "images.parquet", IMAGES)
    write_table(samples, folder / "samples.parquet", SAMPLES)

    def films(class_ids):
        bright = 60 + 60 * np.asarray(class_ids)[:, None, None]
        return (bright + rng.integers(-30, 30, (len(class_ids), 16, 16))).astype(np.uint8)

    np.save(folder / "archive.npy", films(images["class_id"]))
    for number in range(3):
        np.save(folder / f"{number}_000.npy", films([number] * 10))
    train_arm(
        folder / "images.parquet",
        [folder / "archive.npy"],
        folder / "samples.parquet" if synthetic else None,
        [folder / f"{number}_000.npy" for number in range(3)] if synthetic else [],
        folder / f"{arm}_seed{seed}.parquet",
        study="s",
        arm=arm,
        synthetic=synthetic,
        source="model/sampler/" if synthetic else None,
        seed=seed,
        classes=CLASSES,
        classifier=settings,
        device="cpu",
    )
    return read_table(folder / f"{arm}_seed{seed}.parquet", PREDICTIONS)


def test_an_arm_predicts_every_real_test_image_and_nothing_else(tmp_path):
    for arm, synthetic in (("real", 0), ("real+1", 1)):
        found = trained(tmp_path, arm, synthetic)
        images = read_table(tmp_path / "images.parquet", IMAGES)
        assert list(found["image_id"]) == list(images.loc[images["split"] == "test", "image_id"])
        probabilities = found[["p_0", "p_1", "p_2"]].to_numpy()
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
        assert (probabilities.argmax(axis=1) == found["class_id"]).mean() > 0.6
        assert set(found["arm"]) == {arm}


def test_images_of_several_findings_are_neither_trained_on_nor_predicted(tmp_path):
    for arm, synthetic in (("real", 0), ("real+1", 1)):
        alone = trained(tmp_path, arm, synthetic)
        among = trained(tmp_path, arm, synthetic, several=True)
        pd.testing.assert_frame_equal(alone, among)


def test_the_same_seed_trains_the_same_and_synthetic_images_make_a_difference(tmp_path):
    first, again = trained(tmp_path, "real", 0), trained(tmp_path, "real", 0)
    pd.testing.assert_frame_equal(first, again)
    for other in (trained(tmp_path, "real", 0, seed=1), trained(tmp_path, "real+1", 1)):
        assert np.abs(first["p_0"] - other["p_0"]).max() > 1e-4


def test_a_training_that_diverges_says_so_instead_of_writing_nonsense(tmp_path):
    with pytest.raises(InputError, match=r"diverged.*classifier\.learning_rate"):
        trained(tmp_path, "real", 0, settings=SETTINGS | {"learning_rate": 1e30})
    assert not (tmp_path / "real_seed0.parquet").exists()


def test_an_archive_named_like_a_shard_of_samples_is_refused(tmp_path):
    trained(tmp_path, "real", 0, settings=SETTINGS | {"steps": 1})
    with pytest.raises(InputError, match="one name: archive"):
        train_arm(
            tmp_path / "images.parquet",
            [tmp_path / "archive.npy"],
            tmp_path / "samples.parquet",
            [tmp_path / "samples" / "archive.npy"],
            tmp_path / "out.parquet",
            study="s",
            arm="real+1",
            synthetic=1,
            source="model/sampler/",
            seed=0,
            classes=CLASSES,
            classifier=SETTINGS,
            device="cpu",
        )
