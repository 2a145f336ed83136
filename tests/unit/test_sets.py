"""The compared sets: equal in number and composition, from the right splits."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.evaluate.sets import equal_subsets, members, wrong_class

CLASSES = ["A", "B"]
SPLITS = ("train", "val", "test")


@settings(max_examples=40)
@given(
    real=st.lists(
        st.tuples(
            st.sampled_from(CLASSES), st.sampled_from(SPLITS), st.booleans(), st.integers(0, 20)
        ),
        max_size=60,
    ),
    synthetic=st.lists(st.sampled_from(CLASSES), max_size=15),
    seed=st.integers(0, 3),
)
def test_equal_number_and_composition_from_the_right_split(real, synthetic, seed):
    images = pd.DataFrame(real, columns=["class_name", "split", "several", "patient_id"])
    images["findings"] = images["class_name"].where(~images["several"].astype(bool), "A|B")
    samples = pd.DataFrame({"class_name": synthetic}, dtype=object)
    subsets = equal_subsets(members(images, samples, CLASSES), images["patient_id"], seed)
    for name, split in (("reference", "test"), ("floor", "val"), ("train", "train")):
        for label, rows in subsets[name].items():
            assert (images.loc[rows, ["split", "findings"]] == [split, label]).all(axis=None)
            assert images.loc[rows, "patient_id"].is_unique
    for label in CLASSES:
        assert (samples.loc[subsets["synthetic"][label], "class_name"] == label).all()
        have = [
            len({patient for *entry, patient in real if entry == [label, split, False]})
            for split in SPLITS
        ]
        expected = min(*have, synthetic.count(label))
        assert {len(subset[label]) for subset in subsets.values()} == {expected}


def test_seeded_and_not_the_first_ones():
    images = pd.DataFrame({"class_name": "A", "findings": "A", "split": np.repeat(SPLITS, 50)})
    sets = members(images, pd.DataFrame({"class_name": ["A"] * 20}), ["A"])
    first, again, other = (
        equal_subsets(sets, np.arange(150), seed)["train"]["A"] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, np.arange(20))
    # Which of a patient's images stands for him is drawn as well.
    chosen = equal_subsets(sets, np.arange(150) // 5, 1)["train"]["A"] % 5
    assert len(chosen) == 10
    assert len(set(chosen)) > 1


@given(
    own=st.integers(0, 12),
    others=st.lists(st.integers(0, 8), min_size=0, max_size=3),
    seed=st.integers(0, 3),
)
def test_wrong_class_is_validation_images_of_the_others(own, others, seed):
    """As many as the class has in each set, or as there are, and none of its own."""
    counts = {"A": own} | {f"other {number}": count for number, count in enumerate(others)}
    labels = np.repeat(list(counts), list(counts.values())).astype(object)
    images = pd.concat(
        pd.DataFrame({"class_name": labels, "findings": labels, "split": split}) for split in SPLITS
    ).sample(frac=1, random_state=seed, ignore_index=True)
    everything = members(images, pd.DataFrame({"class_name": labels}), list(counts))
    patients = np.arange(len(images))
    subsets = equal_subsets(everything, patients, seed)
    drawn = wrong_class(everything, subsets, patients, seed)
    assert list(drawn) == list(counts)
    for label, rows in drawn.items():
        assert (images.loc[rows, "split"] == "val").all()
        assert (images.loc[rows, "class_name"] != label).all()
        assert len(set(rows)) == len(rows) == min(counts[label], len(labels) - counts[label])
    again = wrong_class(everything, subsets, patients, seed)
    for label in counts:
        np.testing.assert_array_equal(drawn[label], again[label])
    two_each = patients // 2
    for rows in wrong_class(everything, subsets, two_each, seed).values():
        assert len(set(two_each[rows])) == len(rows)
