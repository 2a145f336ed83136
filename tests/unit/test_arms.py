"""What an arm trains on, and the plan that says so beforehand."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.several import with_several
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import ARM_IMAGES, ARMS, COPIES, IMAGES, SAMPLES
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.study.arms import cleared, compose, real_images, synthetic_per_class
from workflow_scripts.study.plan_arms import plan_arms

CLASSES = ["No Finding", "Effusion", "Pneumonia"]
WHERE = "studies.s.arms.a"
REAL = {"real": True, "synthetic": 0, "classes": "all"}


def images_of(train=(9, 4, 2), held_out=2):
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


def composed(arm, images=None, samples=None, patients=1.0):
    """The images of an arm, whose settings are those of real images alone and these."""
    images = images_of() if images is None else images
    samples = drawn_images() if samples is None else samples
    real = real_images(images, patients, 0)
    return ARM_IMAGES.validate(compose(real, samples, REAL | arm, CLASSES, WHERE))


# -- real images -----------------------------------------------------------------------------------


@st.composite
def cohorts(draw):
    """IMAGES of patients with up to four films each, of any classes, each in one split."""
    count = draw(st.integers(3, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    films = rng.integers(1, 5, count)
    class_ids = rng.choice(3, films.sum(), p=[0.7, 0.25, 0.05])
    patient = np.repeat(np.arange(count), films)
    splits = rng.choice(["train", "train", "val", "test"], count)
    frame = pd.DataFrame(
        {
            "image_id": [f"{place:04d}" for place in range(len(patient))],
            "patient_id": patient.astype(str),
            "class_id": class_ids,
            "class_name": np.array(CLASSES)[class_ids],
            "findings": np.array(CLASSES)[class_ids],
            "age_years": 50.0,
            "sex": "F",
            "view": "PA",
            "split": splits[patient],
            "shard": "archive",
            "row": np.arange(len(patient)),
        }
    )
    return with_several(frame)


@settings(max_examples=30)
@given(cohorts(), st.floats(0.01, 1), st.floats(0.01, 1), st.integers(0, 3))
def test_a_share_of_patients_is_nested_keeps_every_class_and_leaves_the_training_split_never(
    images, one, other, seed
):
    small, large = (real_images(images, share, seed) for share in sorted([one, other]))
    assert set(small["image_id"]) <= set(large["image_id"])
    everybody = real_images(images, 1.0, seed)
    assert (everybody["split"] == "train").all()
    assert (everybody["findings"] == everybody["class_name"]).all()
    assert not set(everybody["patient_id"]) & set(
        images.loc[images["split"] != "train", "patient_id"]
    )
    for share, mine in ((min(one, other), small), (max(one, other), large)):
        for class_id, rows in everybody.groupby("class_id"):
            own = mine.loc[mine["class_id"] == class_id, "patient_id"].nunique()
            assert own >= math.ceil(round(share * rows["patient_id"].nunique(), 9)) >= 1
        # Whoever takes part does so with all images.
        assert len(mine) == everybody["patient_id"].isin(mine["patient_id"]).sum()


def test_all_patients_are_the_training_split():
    images = with_several(images_of())
    alone = images[(images["split"] == "train") & (images["findings"] == images["class_name"])]
    pd.testing.assert_frame_equal(real_images(images, 1.0, 0), alone)


def test_a_tenth_of_many_patients_is_a_tenth_of_each_class_and_depends_on_the_seed():
    images = images_of(train=(400, 100, 10))
    chosen = [real_images(images, 0.1, seed) for seed in (0, 0, 1)]
    assert list(chosen[0]["class_id"].value_counts().sort_index()) == [40, 10, 1]
    pd.testing.assert_frame_equal(chosen[0], chosen[1])
    assert set(chosen[0]["image_id"]) != set(chosen[2]["image_id"])


def test_patients_with_several_films_make_the_share_little_larger():
    rng = np.random.default_rng(0)
    images = images_of(train=(900, 200, 100))
    images["patient_id"] = rng.integers(500, size=len(images)).astype(str)
    images["split"] = "train"
    share = real_images(images, 0.25, 0)["patient_id"].nunique() / images["patient_id"].nunique()
    assert 0.25 <= share < 0.35


# -- synthetic images ------------------------------------------------------------------------------


@given(st.floats(0, 5), st.integers(1, 5000), st.integers(1, 14))
def test_the_synthetic_images_are_the_ratio_of_the_real_ones_and_equal_per_class(
    ratio, real, classes
):
    total = synthetic_per_class(ratio, real, classes) * classes
    assert ratio * real - 1e-6 <= total < ratio * real + classes + 1e-6


def test_a_ratio_that_divides_evenly_is_not_rounded_up_by_floating_point():
    assert synthetic_per_class(0.1, 180, 6) == 3
    assert synthetic_per_class(0.7, 60, 6) == 7


def test_the_real_arm_needs_no_samples():
    images = images_of()
    training = compose(real_images(images, 1.0, 0), None, REAL, CLASSES, WHERE)
    assert list(training["image_id"]) == list(images.loc[images["split"] == "train", "image_id"])
    assert not training["synthetic"].any()


@settings(max_examples=25)
@given(
    st.booleans(),
    st.floats(0.01, 1.3),
    st.lists(st.sampled_from(CLASSES), min_size=1, unique=True) | st.just("all"),
    st.sampled_from([0.3, 1.0]),
)
def test_an_arm_holds_what_it_was_configured_to(real, ratio, classes, patients):
    images, samples = images_of(), drawn_images(20)
    mine = real_images(images, patients, 0)
    arm = {"real": real, "synthetic": ratio, "classes": classes}
    training = composed(arm, images, samples, patients)
    names = CLASSES if classes == "all" else classes
    per_class = synthetic_per_class(ratio, len(mine), len(names))
    added = training[training["synthetic"]]
    assert dict(added["class_name"].value_counts()) == dict.fromkeys(names, per_class)
    assert set(added["image_id"].str[-6:].astype(int)) == set(range(per_class))
    assert added["patient_id"].isna().all()
    kept = training[~training["synthetic"]]
    assert set(kept["image_id"]) == (set(mine["image_id"]) if real else set())
    origin = pd.concat([images, samples]).set_index("image_id")
    for column in ("class_id", "class_name", "shard", "row"):
        assert list(origin.loc[training["image_id"], column]) == list(training[column])


def test_a_larger_arm_holds_a_smaller_one():
    small, large = (set(composed({"synthetic": ratio})["image_id"]) for ratio in (0.6, 1.4))
    assert small < large


def test_too_few_synthetic_images_are_named_with_what_to_set():
    samples = drawn_images()
    samples = samples[~samples["image_id"].isin(["model/sampler/pneumonia/000003"])]
    with pytest.raises(InputError, match=r"10 synthetic .*Pneumonia has 9\. Raise `per_class`"):
        composed({"synthetic": 2}, samples=samples)
    with pytest.raises(InputError, match="Effusion has 0"):
        composed({"synthetic": 0.1}, samples=samples[samples["class_id"] != 1])


# -- copies ----------------------------------------------------------------------------------------


def audit(samples, copied):
    """COPIES in two spaces; `copied` names (image, space)."""
    frame = pd.DataFrame(
        {
            "image_id": name,
            "class_name": "any",
            "extractor": space,
            "nearest_image_id": "real0000.png",
            "distance": 1.0,
            "threshold": 2.0,
            "copied": (name, space) in copied,
        }
        for name in samples["image_id"]
        for space in ("domain", "pixels")
    )
    return COPIES.validate(frame)


def test_copies_in_any_space_are_left_out_and_counted():
    samples = drawn_images(5)
    first, second = "model/sampler/effusion/000000", "model/sampler/effusion/000001"
    third = "model/sampler/no_finding/000004"
    copies = audit(samples, {(first, "pixels"), (first, "domain"), (second, "domain")})
    copies = copies[copies["image_id"] != third]
    rest, removed = cleared(samples, copies)
    assert set(samples["image_id"]) - set(rest["image_id"]) == {first, second, third}
    assert removed == {
        "Effusion": {"images": 2, "unaudited": 0, "domain": 2, "pixels": 1},
        "No Finding": {"images": 1, "unaudited": 1},
        "Pneumonia": {"images": 0, "unaudited": 0},
    }
    taken = composed({"synthetic": 0.5}, samples=rest)
    assert {first, second}.isdisjoint(taken["image_id"])
    assert "model/sampler/effusion/000002" in set(taken["image_id"])


# -- the plan --------------------------------------------------------------------------------------


def plan(tmp_path, images, arms, per_class, patients=1.0):
    write_table(images, tmp_path / "images.parquet", IMAGES)
    arms = [(name, REAL | arm) for name, arm in arms]
    plan_arms(
        tmp_path / "images.parquet", tmp_path / "arms.parquet", "s", arms, CLASSES, patients, 0,
        "dpm", per_class,
    )  # fmt: skip
    return read_table(tmp_path / "arms.parquet", ARMS)


def test_the_plan_says_what_each_arm_trains_on(tmp_path):
    arms = [
        ("real", {}),
        ("real+1", {"synthetic": 1}),
        ("synthetic", {"real": False, "synthetic": 1}),
        ("rare", {"synthetic": 1 / 3, "classes": ["Pneumonia"]}),
    ]
    images = with_several(images_of())
    table = plan(tmp_path, images, arms, 5)
    assert list(table["arm"].unique()) == [name for name, _ in arms]
    assert list(table["real"]) == [9, 4, 2] * 2 + [0, 0, 0] + [9, 4, 2]
    assert list(table["synthetic"]) == [0, 0, 0, 5, 5, 5, 5, 5, 5, 0, 0, 5]
    for name, arm in arms:
        training = composed(arm, images)
        rows = table[table["arm"] == name]
        assert rows["real"].sum() == (~training["synthetic"]).sum()
        assert rows["synthetic"].sum() == training["synthetic"].sum()


def test_the_plan_of_fewer_patients_asks_for_fewer_synthetic_images(tmp_path):
    images = images_of(train=(40, 20, 20))
    table = plan(tmp_path, images, [("real+1", {"synthetic": 1})], 20, patients=0.25)
    assert list(table["real"]) == [10, 5, 5]
    assert list(table["synthetic"]) == [7, 7, 7]


def test_a_plan_that_the_sampler_cannot_serve_says_both_ways_out_and_each_works(tmp_path):
    message = r"arms\.big: .* 5 synthetic .*per_class is 3.* at least 5, or .* at most 0\.6"
    with pytest.raises(InputError, match=message):
        plan(tmp_path, images_of(), [("big", {"synthetic": 1.0})], 3)
    plan(tmp_path, images_of(), [("big", {"synthetic": 1.0})], 5)
    plan(tmp_path, images_of(), [("big", {"synthetic": 0.6})], 3)


def test_a_class_without_a_test_image_stops_the_plan(tmp_path):
    images = images_of()
    others = (images["split"] == "test") & (images["class_id"] == 2)
    images.loc[others, "findings"] = "Effusion|Pneumonia"
    with pytest.raises(InputError, match="no test image shows Pneumonia"):
        plan(tmp_path, images, [("real", {})], 5)


def test_a_class_without_a_training_image_stops_an_arm_that_does_not_make_any(tmp_path):
    images = images_of(train=(9, 4, 0))
    with pytest.raises(InputError, match=r"arms\.real: no training image shows Pneumonia"):
        plan(tmp_path, images, [("real", {})], 5)
    plan(tmp_path, images, [("mended", {"synthetic": 0.1})], 5)
