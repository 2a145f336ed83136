"""What an arm trains on, what it may not, and the plan that says so beforehand."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.several import with_several
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import ARMS, IMAGES, SAMPLES
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.study.arms import COLUMNS, compose, guard, synthetic_per_class
from workflow_scripts.study.plan_arms import plan_arms

CLASSES = ["No Finding", "Effusion", "Pneumonia"]
WHERE = "studies.s.arms.a"


def real_images(train=(9, 4, 2), held_out=2):
    """IMAGES with `train` training images per class and `held_out` in each other split."""
    rows = []
    for split, counts in (("train", train), ("val", [held_out] * 3), ("test", [held_out] * 3)):
        for number, count in enumerate(counts):
            for _ in range(count):
                place = len(rows)
                rows.append(
                    {
                        "image_id": f"real{place:04d}.png",
                        "patient_id": f"p{place:04d}",
                        "class_id": number,
                        "class_name": CLASSES[number],
                        "findings": CLASSES[number],
                        "age_years": 50.0,
                        "sex": "F",
                        "view": "PA",
                        "split": split,
                        "shard": "archive",
                        "row": place,
                    }
                )
    return IMAGES.validate(pd.DataFrame(rows))


def drawn_images(per_class=10, source="model/sampler"):
    """SAMPLES of one model and sampler, in no particular order."""
    frame = pd.DataFrame(
        {
            "image_id": f"{source}/{name.lower().replace(' ', '_')}/{place:06d}",
            "shard": f"{number}_000",
            "row": place,
            "class_id": number,
            "class_name": name,
            "seed": place,
        }
        for number, name in enumerate(CLASSES)
        for place in range(per_class)
    )
    return SAMPLES.validate(frame.sample(frac=1, random_state=0, ignore_index=True))


@given(st.floats(0, 5), st.integers(1, 5000), st.integers(2, 14))
def test_the_synthetic_images_are_the_ratio_of_the_real_ones_and_equal_per_class(
    ratio, real, classes
):
    total = synthetic_per_class(ratio, real, classes) * classes
    assert ratio * real - 1e-6 <= total < ratio * real + classes + 1e-6


def test_a_ratio_that_divides_evenly_is_not_rounded_up_by_floating_point():
    assert synthetic_per_class(0.1, 180, 6) == 3
    assert synthetic_per_class(0.7, 60, 6) == 7


def test_the_real_arm_is_the_training_split_and_needs_no_samples():
    images = real_images()
    training = compose(images, None, 0, WHERE)
    assert list(training["image_id"]) == list(images.loc[images["split"] == "train", "image_id"])
    assert not training["synthetic"].any()


@given(st.integers(1, 10))
def test_an_arm_adds_the_first_synthetic_images_of_each_class(per_class):
    images, samples = real_images(), drawn_images()
    training = compose(images, samples, per_class, WHERE)
    added = training[training["synthetic"]]
    assert (training["synthetic"] | training["image_id"].isin(images["image_id"])).all()
    assert (~training["synthetic"]).sum() == 15
    assert (added["class_id"].value_counts() == per_class).all()
    assert set(added["image_id"].str[-6:].astype(int)) == set(range(per_class))
    assert not training.isna().any(axis=None)
    guard(training, images, "model/sampler/", WHERE)


def test_a_larger_arm_holds_a_smaller_one():
    images, samples = real_images(), drawn_images()
    small, large = (set(compose(images, samples, k, WHERE)["image_id"]) for k in (3, 7))
    assert small < large


def test_too_few_synthetic_images_are_named_with_what_to_set():
    samples = drawn_images()
    samples = samples[~samples["image_id"].isin(["model/sampler/pneumonia/000003"])]
    with pytest.raises(InputError, match=r"10 synthetic .*Pneumonia has 9.*at least 10"):
        compose(real_images(), samples, 10, WHERE)


def test_a_class_without_any_synthetic_image_is_named():
    samples = drawn_images()
    with pytest.raises(InputError, match="Effusion has 0"):
        compose(real_images(), samples[samples["class_id"] != 1], 1, WHERE)


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_guard_finds_a_patient_of_another_split(split):
    images = real_images()
    leaked = images.index[images["split"] == split][0]
    images.loc[leaked, "patient_id"] = "p0003"
    with pytest.raises(InputError, match=r"patients who are also in .*p0003"):
        guard(compose(images, None, 0, WHERE), images, None, WHERE)


def test_the_guard_finds_a_test_image_among_the_training_images():
    images = real_images()
    training = compose(images, None, 0, WHERE)
    test = images[images["split"] == "test"].iloc[[0]][["image_id", "class_id", "class_name"]]
    training = pd.concat([training, test.assign(synthetic=False)])
    with pytest.raises(InputError, match=f"not of the training split: {test['image_id'].iloc[0]}"):
        guard(training, images, None, WHERE)


def test_the_guard_finds_images_of_another_generator():
    images = real_images()
    training = compose(images, drawn_images(source="other/sampler"), 1, WHERE)
    with pytest.raises(InputError, match="not of model/sampler/: other/sampler/"):
        guard(training, images, "model/sampler/", WHERE)


def test_the_guard_finds_an_image_that_counts_twice():
    images = real_images()
    training = compose(images, None, 0, WHERE)
    with pytest.raises(InputError, match=r"twice: real0000\.png"):
        guard(pd.concat([training, training.iloc[[0]]]), images, None, WHERE)


def test_images_of_several_findings_are_neither_taken_nor_let_through():
    images = real_images()
    more = with_several(images)
    pd.testing.assert_frame_equal(compose(more, None, 0, WHERE), compose(images, None, 0, WHERE))
    smuggled = pd.concat(
        [
            compose(more, None, 0, WHERE),
            more.loc[more["image_id"] == "real0000.pngx", COLUMNS].assign(synthetic=False),
        ]
    )
    with pytest.raises(InputError, match=r"several findings: real0000\.pngx"):
        guard(smuggled, more, None, WHERE)


def plan(tmp_path, images, arms, per_class):
    write_table(images, tmp_path / "images.parquet", IMAGES)
    plan_arms(
        tmp_path / "images.parquet", tmp_path / "arms.parquet", "s", arms, CLASSES, "dpm", per_class
    )
    return read_table(tmp_path / "arms.parquet", ARMS)


def test_the_plan_says_what_each_arm_trains_on(tmp_path):
    arms = [("real", {"synthetic": 0}), ("real+1", {"synthetic": 1})]
    table = plan(tmp_path, with_several(real_images()), arms, 5)
    assert list(table["arm"].unique()) == ["real", "real+1"]
    assert list(table["real"]) == [9, 4, 2] * 2
    assert list(table["synthetic"]) == [0, 0, 0, 5, 5, 5]


def test_a_plan_that_the_sampler_cannot_serve_says_both_ways_out_and_each_works(tmp_path):
    message = r"arms\.big: .* 5 synthetic .*per_class is 3.* at least 5, or .* at most 0\.6"
    with pytest.raises(InputError, match=message):
        plan(tmp_path, real_images(), [("big", {"synthetic": 1.0})], 3)
    plan(tmp_path, real_images(), [("big", {"synthetic": 1.0})], 5)
    plan(tmp_path, real_images(), [("big", {"synthetic": 0.6})], 3)


def test_a_class_without_a_test_image_stops_the_plan(tmp_path):
    images = real_images()
    others = (images["split"] == "test") & (images["class_id"] == 2)
    images.loc[others, "findings"] = "Effusion|Pneumonia"
    with pytest.raises(InputError, match="no test image shows Pneumonia"):
        plan(tmp_path, images, [("real", {"synthetic": 0})], 5)
