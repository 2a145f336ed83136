"""What a step learns from: the right images, levels, noise and conditions, by seed and step alone."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_training import CPU, TRAINING, VALUES, write_images

from workflow_scripts.common.errors import InputError
from workflow_scripts.diffusion.conditions import Conditions
from workflow_scripts.training.batches import (
    Batches,
    Pixels,
    class_probabilities,
    draw_positions,
    pixel_deviation,
    read_split,
)


@pytest.fixture
def split(tmp_path):
    return read_split(*write_images(tmp_path), "train")


def batches(split, *of, **settings):
    return Batches(split, Conditions(VALUES), TRAINING | settings, CPU, *of)


@pytest.mark.parametrize("world", [2, 3])
def test_the_parts_of_several_processes_make_up_the_batch_of_one(split, world):
    whole = batches(split, batch_size=12)[5]
    parts = [batches(split, rank, world, batch_size=12)[5] for rank in range(world)]
    for name in ("x0", "eps", "u", "c"):
        found = torch.stack([getattr(part, name) for part in parts], dim=1).flatten(0, 1)
        assert torch.equal(found, getattr(whole, name))


def test_a_batch_depends_on_seed_and_step_alone(split):
    first = batches(split)
    before = [first[step] for step in (3, 4)]
    torch.manual_seed(99)
    again, other = batches(split), batches(split, seed=2)
    for step, expected in zip((4, 3), before[::-1], strict=True):
        for value, found, different in zip(
            expected[:4], again[step][:4], other[step][:4], strict=True
        ):
            assert torch.equal(value, found)
            assert value.shape == different.shape
        assert not torch.equal(expected.eps, other[step].eps)
    assert not torch.equal(before[0].eps, before[1].eps)
    assert not torch.equal(before[0].u, before[1].u)


@given(step=st.integers(0, 10**6), size=st.sampled_from([1, 3, 32]))
def test_noise_levels_spread_evenly_over_a_batch(tmp_path_factory, step, size):
    folder = tmp_path_factory.getbasetemp() / "levels"
    if not folder.exists():
        folder.mkdir()
        write_images(folder)
    split = read_split(folder / "images.parquet", [folder / "films.npy"], "train")
    u = batches(split, batch_size=size)[step].u
    assert ((u >= 0) & (u < 1)).all()
    ordered = u.double().sort().values
    gaps = torch.cat([ordered, ordered[:1] + 1]).diff()
    assert gaps.numpy() == pytest.approx(np.full(size, 1 / size), abs=1e-5)


def test_noise_levels_are_uniform_over_steps(split):
    stream = batches(split)
    u = torch.cat([stream[step].u for step in range(500)])
    assert u.histc(10, 0, 1).numpy() == pytest.approx(np.full(10, 200), abs=40)


def test_images_come_with_their_own_conditions_on_the_scale_of_networks(split):
    stream = batches(split, label_dropout=0.0, batch_size=16)
    x0, eps, _, c, _ = stream[0]
    pixels = {image.tobytes(): row for row, image in enumerate(split.store.all())}
    encoded = Conditions(VALUES).encode(split.table)
    for image, asked in zip(x0, c, strict=True):
        grey = ((image[0] + 1) * 127.5).round().byte().numpy()
        assert torch.equal(asked, encoded[pixels[grey.tobytes()]])
    assert x0.shape == eps.shape == (16, 1, 16, 16)
    assert x0.dtype == eps.dtype == c.dtype == torch.float32
    assert eps.std().item() == pytest.approx(1, abs=0.1)


def test_images_that_live_on_the_device_are_those_of_the_store(split):
    pixels, positions = Pixels(split.store, CPU), np.array([3, 0, 3])
    gathered = pixels[positions]
    pixels.resident = torch.from_numpy(split.store.all())
    assert torch.equal(pixels[positions], gathered)


def test_the_deviation_of_the_pixels_is_exact(split):
    values = split.store.all() / 127.5 - 1
    assert pixel_deviation(split.store) == pytest.approx(values.std(), rel=1e-12)


def test_an_empty_split_is_an_error(tmp_path):
    images, shards = write_images(tmp_path)
    with pytest.raises(InputError, match=r"images\.parquet holds no image of the test split"):
        read_split(images, shards, "test")


@given(st.lists(st.integers(0, 3), min_size=1, max_size=200))
def test_class_probabilities_sum_to_one_and_balance(classes):
    classes = np.array(classes)
    for sampling in ("natural", "sqrt", "balanced"):
        assert class_probabilities(classes, sampling).sum() == pytest.approx(1)
    balanced = class_probabilities(classes, "balanced")
    shares = [balanced[classes == c].sum() for c in np.unique(classes)]
    assert shares == pytest.approx([1 / len(shares)] * len(shares))


def test_draws_follow_the_probabilities_and_the_step():
    edges = class_probabilities(np.array([0] * 90 + [1] * 10), "balanced").cumsum()
    draws = np.concatenate([draw_positions(edges, 100, 5, step) for step in range(50)])
    assert (draws >= 90).mean() == pytest.approx(0.5, abs=0.03)
    assert not np.array_equal(draw_positions(edges, 100, 5, 0), draws[100:200])
    assert np.array_equal(draw_positions(edges, 100, 5, 1), draws[100:200])
