"""Grey levels, spectra and edges against closed forms and SciPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.stats import wasserstein_distance

from workflow_scripts.metrics.physics import (
    decibels,
    intensities,
    intensity_distance,
    profiles,
    sharpness,
    sharpness_ratio,
    spectra,
    spectrum_distance,
)


def noise(count: int, size: int = 32, seed: int = 0, deviation: float = 20) -> np.ndarray:
    values = np.random.default_rng(seed).normal(128, deviation, (count, size, size))
    return values.round().clip(0, 255).astype(np.uint8)


def blurred(images: np.ndarray, width: float) -> np.ndarray:
    return gaussian_filter(images.astype(float), (0, width, width)).round().astype(np.uint8)


@given(
    seed=st.integers(0, 99),
    counts=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    levels=st.integers(1, 256),
)
def test_intensity_distance_is_scipys_of_all_pixels(seed, counts, levels):
    rng = np.random.default_rng(seed)
    x, y = (rng.integers(0, levels, (count, 8, 8), dtype=np.uint8) for count in counts)
    expected = wasserstein_distance(x.ravel(), y.ravel())
    assert intensity_distance(intensities(x), intensities(y)) == pytest.approx(expected, abs=1e-9)


def test_a_shift_of_grey_is_its_own_distance():
    x = noise(5)
    assert x.max() + 7 < 256
    assert intensity_distance(intensities(x + 7), intensities(x)) == pytest.approx(7)
    assert intensity_distance(intensities(x), intensities(x)) == 0


@pytest.mark.parametrize("size", [32, 33])
def test_white_noise_has_its_variance_at_every_frequency(size):
    power = spectra(noise(400, size)).mean(axis=0)
    assert power.shape == (size // 2,)
    # The lowest frequencies lose what the mean takes away.
    np.testing.assert_allclose(power[2:], 20**2 + 1 / 12, rtol=0.06)


def test_a_wave_stands_at_its_frequency_whichever_way_it_runs():
    y, x = np.mgrid[:64, :64]
    for phase in (8 * x, 8 * y, 4.8 * x + 6.4 * y):
        wave = (128 + 60 * np.cos(2 * np.pi * phase / 64)).round().astype(np.uint8)
        assert spectra(wave[None]).argmax() + 1 == 8


def test_spectrum_agrees_with_a_sum_over_every_frequency():
    image = noise(1, 16)[0]
    window = np.hanning(17)[:-1]
    window = window[:, None] * window
    full = np.abs(np.fft.fft2((image - image.mean()) * window)) ** 2 / (window**2).sum()
    frequency = np.fft.fftfreq(16, 1 / 16)
    radius = np.rint(np.sqrt(frequency[:, None] ** 2 + frequency**2))
    expected = [full[radius == ring].mean() for ring in range(1, 9)]
    np.testing.assert_allclose(spectra(image[None])[0], expected)


def test_twice_the_contrast_is_six_decibels_and_flat_images_have_a_number():
    x, y = noise(40, deviation=20), noise(40, deviation=40)
    assert spectrum_distance(spectra(y), spectra(x)) == pytest.approx(20 * np.log10(2), abs=0.3)
    flat = np.full((2, 16, 16), 9, np.uint8)
    np.testing.assert_allclose(decibels(spectra(flat)), 10 * np.log10(1 / 12))


def test_edges_of_a_ramp_and_of_a_step():
    ramp = np.tile(np.arange(0, 96, 3, dtype=np.uint8), (32, 1))
    assert sharpness(np.stack([ramp, ramp.T])).tolist() == [3, 3]
    diagonal = (2 * np.arange(32)[:, None] + 2 * np.arange(32)).astype(np.uint8)
    assert sharpness(diagonal[None])[0] == pytest.approx(np.sqrt(8))
    assert sharpness(np.full((1, 32, 32), 200, np.uint8)).tolist() == [0]


def test_blur_lowers_sharpness_the_more_the_wider_it_is_and_takes_high_frequencies():
    x = noise(10)
    ratios = [sharpness_ratio(sharpness(blurred(x, width)), sharpness(x)) for width in (0.5, 1, 2)]
    assert 1 > ratios[0] > ratios[1] > ratios[2] > 0
    lost = decibels(spectra(x).mean(axis=0)) - decibels(spectra(blurred(x, 1)).mean(axis=0))
    assert lost[-1] > 10 > lost[0]
    assert np.isnan(sharpness_ratio(sharpness(x), np.zeros(3)))


def test_profiles_are_those_of_each_image_alone():
    x = noise(130, 16)
    found = profiles(x)
    assert len(found) == 130
    for part, measure in (
        (found.intensity, intensities),
        (found.spectrum, spectra),
        (found.sharpness, sharpness),
    ):
        np.testing.assert_allclose(part[128], measure(x[128:129])[0])
