"""Stored images and what networks see: every level comes back, whatever depth and channels."""

import numpy as np
import pytest
import torch

from workflow_scripts.common.levels import bits_of, grey, perceived, shown
from workflow_scripts.common.pixels import to_input, to_pixels

CPU = torch.device("cpu")


@pytest.mark.parametrize("channels", [(), (2,), (3,)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_level_comes_back(dtype, channels):
    most = np.iinfo(dtype).max
    levels = np.arange(most + 1, dtype=dtype)
    images = np.stack([levels.reshape(2, 16, -1)] * np.prod(channels, dtype=int), axis=-1)
    images = images[..., 0] if not channels else images
    x = to_input(images, CPU)
    assert x.dtype == torch.float32
    assert x.shape == (2, *(channels or (1,)), 16, images.shape[2])
    assert (x.min().item(), x.max().item()) == (-1, 1)
    back = to_pixels(x, bits_of(images.dtype))
    assert back.dtype == dtype
    assert np.array_equal(back, images)


def test_channels_stay_in_their_order():
    images = np.zeros((1, 4, 4, 3), np.uint8)
    images[..., 1] = 255
    x = to_input(images, CPU)
    assert x.mean(dim=(0, 2, 3)).tolist() == [-1, 1, -1]


def test_what_is_beyond_the_range_is_cut_off():
    x = torch.tensor([-1.5, 1.5]).view(1, 1, 1, 2)
    assert to_pixels(x).tolist() == [[[0, 255]]]
    assert to_pixels(x, 16).tolist() == [[[0, 65535]]]


@pytest.mark.parametrize(
    "images", [np.zeros((1, 4, 4), np.float32), np.zeros((4, 4), np.uint8), np.zeros(3, np.int16)]
)
def test_another_scale_or_shape_is_refused(images):
    with pytest.raises(TypeError, match="expected images"):
        to_input(images, CPU)


def test_grey_is_luminance_of_colour_and_the_mean_of_other_channels():
    colour = np.array([[[[255, 0, 0]], [[0, 255, 0]], [[0, 0, 255]], [[9, 9, 9]]]], np.uint8)
    assert grey(colour).tolist() == [[[76], [150], [29], [9]]]  # Rec. 601
    two = np.array([[[[10, 20]]]], np.uint8)
    assert grey(two).tolist() == [[[15]]]
    deep = np.array([[[0, 128, 129, 65535]]], np.uint16)
    assert grey(deep).tolist() == [[[0, 0, 1, 255]]]
    same = np.zeros((1, 2, 2), np.uint8)
    assert grey(same) is same and shown(same) is same


def test_what_is_shown_of_many_channels_is_the_first():
    images = np.arange(2 * 4 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4, 4)
    assert np.array_equal(shown(images), images[..., 0])
    assert np.array_equal(shown(images[..., :3]), images[..., :3])


def test_what_measures_perceive_of_many_channels_is_their_mean_and_of_colour_colour():
    images = np.arange(2 * 4 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4, 4)
    assert np.array_equal(perceived(images), grey(images))
    assert np.array_equal(perceived(images[..., :3]), images[..., :3])
    assert np.array_equal(perceived(images[..., 0]), images[..., 0])
