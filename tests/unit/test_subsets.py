"""The compared sets: equal in number and composition, from the right splits."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.evaluate.subsets import equal_subsets, members

CLASSES = ["A", "B"]
SPLITS = ("train", "val", "test")


@settings(max_examples=40)
@given(
    real=st.lists(
        st.tuples(st.sampled_from(CLASSES), st.sampled_from(SPLITS), st.booleans()), max_size=60
    ),
    synthetic=st.lists(st.sampled_from(CLASSES), max_size=15),
    seed=st.integers(0, 3),
)
def test_equal_number_and_composition_from_the_right_split(real, synthetic, seed):
    images = pd.DataFrame(real, columns=["class_name", "split", "several"])
    images["findings"] = images["class_name"].where(~images["several"].astype(bool), "A|B")
    samples = pd.DataFrame({"class_name": synthetic}, dtype=object)
    subsets = equal_subsets(members(images, samples, CLASSES), seed)
    for name, split in (("reference", "test"), ("floor", "val"), ("train", "train")):
        for label, rows in subsets[name].items():
            assert (images.loc[rows, ["split", "findings"]] == [split, label]).all(axis=None)
            assert len(set(rows)) == len(rows)
    for label in CLASSES:
        assert (samples.loc[subsets["synthetic"][label], "class_name"] == label).all()
        have = [sum(entry == (label, split, False) for entry in real) for split in SPLITS]
        expected = min(*have, synthetic.count(label))
        assert {len(subset[label]) for subset in subsets.values()} == {expected}


def test_seeded_and_not_the_first_ones():
    images = pd.DataFrame({"class_name": "A", "findings": "A", "split": np.repeat(SPLITS, 50)})
    sets = members(images, pd.DataFrame({"class_name": ["A"] * 20}), ["A"])
    first, again, other = (equal_subsets(sets, seed)["train"]["A"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, np.arange(20))
