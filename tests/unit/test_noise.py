"""Noise against the published vectors of its generator, and against the normal distribution."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.diffusion.noise import noise, philox

ONES = 0xFFFFFFFF


def words(*numbers):
    return [torch.tensor(number) for number in numbers]


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (  # digits of π
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_known_answers_of_the_authors(counter, key, expected):
    # Random123's kat_vectors, philox4x32 with 10 rounds.
    assert [int(word) for word in philox(words(*counter), words(*key))] == list(expected)


def test_noise_is_normal():
    z = noise(torch.arange(64), 3, (1, 64, 64)).double()
    count = z.numel()
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        error = (z**power).mean().item() - moment
        assert abs(error) < 4 * math.sqrt(variance / count)
    # Kolmogorov and Smirnov's distance; 1.95 is its quantile at one in a thousand.
    ranks = (torch.arange(count) + 0.5) / count
    distance = (torch.special.ndtr(z.flatten().sort().values) - ranks).abs().max()
    assert distance * math.sqrt(count) < 1.95


def test_neighbours_of_every_kind_are_independent():
    shape = (1, 32, 32)
    z = torch.stack([noise(torch.arange(16), draw, shape) for draw in range(16)]).double()
    limit = 4 / math.sqrt(z.numel())
    for axis in (0, 1, 3, 4):  # draws, seeds, rows, columns
        first, second = z.narrow(axis, 0, z.shape[axis] - 1), z.narrow(axis, 1, z.shape[axis] - 1)
        assert abs((first * second).mean().item()) < limit
        assert abs((first**2 * second**2).mean().item() - 1) < 8 * limit


@given(
    st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=40, unique=True),
    st.integers(0, 2**32 - 1),
    st.sampled_from([(1, 8, 8), (1, 5, 7), (3,), (1, 16, 16)]),
    st.data(),
)
def test_an_image_s_noise_depends_on_its_seed_and_the_draw_alone(seeds, draw, shape, data):
    whole = noise(torch.tensor(seeds), draw, shape)
    assert whole.shape == (len(seeds), *shape)
    assert whole.dtype == torch.float32
    k = data.draw(st.integers(0, len(seeds) - 1))
    assert torch.equal(noise(torch.tensor(seeds[k:]), draw, shape)[0], whole[k])
    assert not torch.equal(noise(torch.tensor(seeds), (draw + 1) % 2**32, shape), whole)
    if len(seeds) > 1:
        assert not torch.equal(whole[k], whole[k - 1])


@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1])
def test_noise_is_box_and_muller_s_of_the_words(seed):
    z = noise(torch.tensor([seed]), 5, (1, 2, 3)).flatten().tolist()
    for block in range(2):
        counter, key = words(block, 5, 0, 0), words(seed % 2**32, seed // 2**32)
        a, b, c, d = [(int(word) + 0.5) / 2**32 for word in philox(counter, key)]
        expected = []
        for u, v in ((a, b), (c, d)):
            radius, angle = math.sqrt(-2 * math.log(u)), 2 * math.pi * v
            expected += [radius * math.cos(angle), radius * math.sin(angle)]
        here = z[4 * block : 4 * block + 4]
        assert here == pytest.approx(expected[: len(here)], rel=1e-7, abs=1e-12)


def test_both_halves_of_a_seed_count():
    seeds = torch.tensor([5, 5 + 2**32, 5 + 2**62])
    a, b, c = noise(seeds, 0, (64,))
    assert not torch.equal(a, b)
    assert not torch.equal(b, c)
