"""Grids against the papers that they are from."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.untrained import DDPM, EDM, VP_SDE
from workflow_scripts.common.errors import InputError
from workflow_scripts.diffusion.grid import grid
from workflow_scripts.diffusion.process import make_process

SPACINGS = ["trailing", "karras", "log_snr"]
SETTINGS = {
    "ddpm": DDPM,
    "ddpm of finite SNR": DDPM | {"zero_terminal_snr": False},
    "ddpm shifted": DDPM | {"schedule": "linear", "timesteps": 300, "resolution_shift": True},
    "vp_sde": VP_SDE,
    "vp_sde shifted": VP_SDE | {"resolution_shift": True},
    "edm": EDM,
}


def process(settings):
    return make_process(settings, image_size=128, sigma_data=0.3)


PROCESSES = {name: process(settings) for name, settings in SETTINGS.items()}


@given(st.sampled_from(list(SETTINGS)), st.sampled_from(["auto", *SPACINGS]), st.integers(1, 300))
def test_grids_go_from_noise_to_image(name, spacing, steps):
    chosen = PROCESSES[name]
    if name == "edm" and spacing == "trailing":
        spacing = "auto"
    levels = grid(chosen, steps, spacing)
    ratios = [level.ratio for level in levels]
    assert len(levels) == steps
    assert all(a > b for a, b in pairwise(ratios))
    low, high = chosen.sigma_range
    assert ratios[-1] >= low * (1 - 1e-9)
    assert ratios[0] >= high * (1 - 1e-9)
    if spacing in ("karras", "log_snr"):
        assert ratios[0] == pytest.approx(high)
        if steps > 1:
            assert ratios[-1] == pytest.approx(low)


@given(
    st.sampled_from(list(SETTINGS)),
    st.sampled_from(SPACINGS),
    st.integers(1, 50),
    st.floats(0.02, 0.5),
    st.floats(1.5, 100),
)
def test_grids_keep_to_the_range(name, spacing, steps, low, high):
    if name == "edm" and spacing == "trailing":
        spacing = "auto"
    chosen = PROCESSES[name]
    levels = grid(chosen, steps, spacing, sigma_min=low, sigma_max=high)
    ratios = [level.ratio for level in levels]
    assert len(levels) == steps
    assert all(a > b for a, b in pairwise(ratios))
    assert ratios[-1] >= max(low, chosen.sigma_range[0]) * (1 - 1e-9)
    assert ratios[0] <= min(high, chosen.sigma_range[1]) * (1 + 1e-9)
    # It begins at the noisiest level of the range: exactly, or at the last whole time step of it.
    if not (spacing == "trailing" and name.startswith("ddpm")):
        assert ratios[0] == pytest.approx(min(high, chosen.sigma_range[1]))
    else:
        assert chosen.level(levels[0].t + 1).ratio > high or levels[0].t == len(chosen.ratios) - 1


@pytest.mark.parametrize("steps", [1, 7, 20, 30, 49, 999, 1000])
def test_trailing_time_steps_are_those_of_the_paper(steps):
    expected = np.round(np.arange(1000, 0, -1000 / steps))[:steps] - 1
    assert [level.t for level in grid(process(DDPM), steps)] == expected.tolist()


def test_trailing_spacing_of_continuous_time():
    levels = grid(process(VP_SDE), 4)
    assert [level.t for level in levels] == pytest.approx([1, 0.75, 0.5, 0.25])


def test_trailing_spacing_within_a_range_divides_its_time_steps():
    chosen = process(DDPM)
    low, high = chosen.level(99.5).ratio, chosen.level(899.5).ratio
    levels = grid(chosen, 4, "trailing", sigma_min=low, sigma_max=high)
    assert [level.t for level in levels] == [899, 699, 499, 299]
    every = grid(chosen, 800, "trailing", sigma_min=low, sigma_max=high)
    assert (every[0].t, every[-1].t) == (899, 100)


def test_karras_spacing_is_even_in_the_seventh_root():
    ratios = [level.ratio for level in grid(process(EDM), 18)]
    i = np.arange(18) / 17
    expected = (80 ** (1 / 7) + i * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    assert ratios == pytest.approx(expected.tolist())


@pytest.mark.parametrize("name", SETTINGS)
def test_log_snr_spacing_is_even(name):
    ratios = [level.ratio for level in grid(PROCESSES[name], 12, "log_snr")]
    steps = np.diff(np.log(ratios))
    assert steps == pytest.approx(np.full(11, steps[0]))


@pytest.mark.parametrize(
    ("settings", "arguments", "message"),
    [
        (EDM, (20, "trailing"), "trailing"),
        (DDPM | {"timesteps": 10}, (11, "trailing"), "10 time steps"),
        (DDPM, (20, "trailing", 0.99, 1.01), "time steps in the sampler's range"),
        (DDPM, (20, "karras", 2.0, 1.0), "Widen"),
        (VP_SDE, (20, "auto", 1e5), "Widen"),
    ],
)
def test_grids_that_cannot_be_are_refused(settings, arguments, message):
    with pytest.raises(InputError, match=message):
        grid(process(settings), *arguments)
