"""Rows of RESTORATION from stored images, with and without LPIPS."""

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision

from workflow_scripts.common.schemas import RESTORATION
from workflow_scripts.common.tables import checked
from workflow_scripts.metrics.restoration import judge
from workflow_scripts.metrics.restoration_rows import restoration_rows

IMAGES = pd.DataFrame(
    {
        "image_id": ["a", "b", "c"],
        "patient_id": ["1", "1", "2"],
        "condition": "half",
        "view": "PA",
    },
    index=[7, 3, 5],
)


def stored(shape, dtype, seed=0):
    most = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, most, shape, endpoint=True, dtype=dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_each_method_has_a_row_per_image(dtype, channels):
    truth, first, second = stored((3, 3, 32, 32, *channels), dtype)
    masks = np.random.default_rng(1).random((3, 32, 32)) < 0.4
    found = restoration_rows(IMAGES, truth, {("one", 1): first, ("two", 8): second}, masks)
    assert list(checked(found, "rows", RESTORATION)["image_id"]) == ["a", "b", "c"] * 2
    assert list(zip(found["method"], found["samples"], strict=True))[2:4] == [
        ("one", 1),
        ("two", 8),
    ]
    expected = judge(truth[1], second[1], np.iinfo(dtype).max, masks[1])
    assert found.iloc[4][list(expected)].to_dict() == expected
    everywhere = restoration_rows(IMAGES, truth, {("one", 1): first})
    assert (everywhere["mae"] != found["mae"].head(3)).all()


@pytest.mark.parametrize(
    ("dtype", "channels"),
    [(np.uint8, ()), (np.uint16, ()), (np.uint8, (3,)), (np.uint8, (2,)), (np.uint16, (4,))],
)
def test_lpips_stands_in_the_table_where_there_are_weights(dtype, channels, tmp_path):
    path = tmp_path / "squeeze.pt"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), path)
    truth, other = stored((2, 3, 64, 64, *channels), dtype)
    if channels:  # the last one alone tells the images apart
        other[..., :-1] = truth[..., :-1]
    restored = {("same", 1): truth, ("other", 1): other}
    found = restoration_rows(IMAGES, truth, restored, lpips={"squeeze": path})
    by_method = checked(found, "rows", RESTORATION).groupby("method")["lpips"]
    assert (by_method.max()["same"], by_method.min()["other"] > 0) == (0, True)
