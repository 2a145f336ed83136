"""Which test images something is tried on."""

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.held_out import held_out


def images(counts: dict[str, int], each: int = 1) -> pd.DataFrame:
    """So many test images of each class, `each` per patient, and as many in training."""
    names = np.repeat(list(counts), list(counts.values()))
    table = pd.DataFrame(
        {
            "image_id": [f"{k:04d}" for k in range(len(names))],
            "patient_id": [str(k // each) for k in range(len(names))],
            "class_id": [list(counts).index(name) for name in names],
            "class_name": names,
            "split": "test",
        }
    )
    return pd.concat([table, table.assign(image_id="t" + table["image_id"], split="train")])


def test_classes_come_in_turn_and_rare_ones_end():
    found = held_out(images({"a": 50, "b": 3, "c": 20}), 16, 1)
    assert list(found["class_name"].head(6)) == ["a", "b", "c"] * 2
    assert found["class_name"].value_counts().to_dict() == {"a": 7, "c": 6, "b": 3}
    assert set(found["split"]) == {"test"}


def test_a_patient_comes_again_when_all_have_come():
    found = held_out(images({"a": 40}, each=4), 20, 1)
    assert found["patient_id"].head(10).nunique() == 10
    assert (found["patient_id"].value_counts() == 2).all()
    assert not found["image_id"].duplicated().any()


def test_few_are_the_first_of_many_and_the_order_of_the_table_does_not_matter():
    table = images({"a": 30, "b": 30})
    many = held_out(table, 40, 5)
    pd.testing.assert_frame_equal(held_out(table, 7, 5), many.head(7))
    pd.testing.assert_frame_equal(held_out(table.sample(frac=1, random_state=2), 40, 5), many)
    assert list(held_out(table, 40, 6)["image_id"]) != list(many["image_id"])


def test_there_are_no_more_than_there_are():
    assert len(held_out(images({"a": 3, "b": 2}), 100, 1)) == 5


def test_without_test_images_there_is_nothing_to_try_on():
    table = images({"a": 3})
    with pytest.raises(InputError, match=r"test split: .* split\.fractions\.test"):
        held_out(table[table["split"] == "train"], 3, 1)
