"""Averages of the weights: their definition, their width, and those made from two others."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.training.ema import (
    PowerAverage,
    coefficients,
    combined,
    exponent,
    widths_between,
)

WIDTHS = (0.05, 0.1)


def weights(network):
    return torch.cat([parameter.flatten() for parameter in network.parameters()]).detach()


def jumps(steps, *widths):
    """Set a network at random again and again; return its weights after each step, and its averages."""
    torch.manual_seed(0)
    network = torch.nn.Linear(6, 5).double()
    averages = [PowerAverage(network, width) for width in widths]
    history = []
    for step in range(1, steps + 1):
        for parameter in network.parameters():
            parameter.data.normal_()
        for average in averages:
            average.update(network, step)
        history.append(weights(network))
    return torch.stack(history), averages


@pytest.mark.parametrize("width", [0.02, 0.05, 0.1, 0.25])
def test_the_average_is_the_power_weighted_sum_of_all_weights(width):
    history, (average,) = jumps(60, width)
    edges = (torch.arange(61, dtype=torch.float64) / 60) ** (exponent(width) + 1)
    expected = (edges.diff()[:, None] * history).sum(0)
    torch.testing.assert_close(weights(average.network), expected)


def test_the_average_is_no_part_of_what_is_trained():
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Dropout(0.5))
    average = PowerAverage(network, 0.1).network
    assert not average.training
    assert not any(parameter.requires_grad for parameter in average.parameters())


@given(st.floats(0.01, 0.28))
def test_the_width_is_the_profiles_standard_deviation(width):
    gamma = exponent(width)
    mean = (gamma + 1) / (gamma + 2)  # of the profile (γ + 1) s^γ on [0, 1]
    square = (gamma + 1) / (gamma + 3)
    assert np.sqrt(square - mean**2) == pytest.approx(width)


def test_published_exponents():
    # Karras et al. 2024, section 3.1: these widths are those of these powers.
    assert exponent(0.05) == pytest.approx(16.97, abs=0.01)
    assert exponent(0.10) == pytest.approx(6.94, abs=0.01)


@given(st.floats(0.05, 0.1))
def test_the_nearest_combination_is_that_of_least_squares(wanted):
    s = (np.arange(20000) + 0.5) / 20000
    profiles = [(exponent(w) + 1) * s ** exponent(w) for w in (*WIDTHS, wanted)]
    known, target = np.stack(profiles[:2], axis=1), profiles[2]
    expected = np.linalg.lstsq(known, target, rcond=None)[0]
    found = np.array(coefficients(WIDTHS, wanted))
    assert found.sum() == pytest.approx(1)
    assert found == pytest.approx(expected / expected.sum(), abs=1e-4)


def test_the_two_averages_themselves_are_among_the_lengths_exactly():
    assert widths_between(*WIDTHS) == pytest.approx([0.05, 0.0595, 0.0707, 0.0841, 0.1], abs=1e-4)
    assert coefficients(WIDTHS, 0.05) == (1.0, 0.0)
    assert coefficients(WIDTHS, 0.1) == (0.0, 1.0)


@pytest.mark.parametrize("wanted", widths_between(*WIDTHS)[1:-1])
def test_an_average_in_between_is_made_from_the_two(wanted):
    _, (short, long, true) = jumps(400, *WIDTHS, wanted)
    made = combined(
        short.network.state_dict(), long.network.state_dict(), coefficients(WIDTHS, wanted)
    )
    target = weights(true.network)
    error = (torch.cat([tensor.flatten() for tensor in made.values()]) - target).norm()
    nearest = min((weights(average.network) - target).norm() for average in (short, long))
    # The profiles differ by 4 to 6 % of their norms, and those of the nearest of the two by 14 to 27.
    assert error < 0.4 * nearest
