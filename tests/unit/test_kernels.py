"""Kernel distances against term-by-term references, other tools and simulation."""

from functools import partial

import numpy as np
import pytest
import torch
from cleanfid.fid import kernel_distance as cleanfid_kernel_distance
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.pairwise import rbf_kernel
from torchmetrics.image.kid import poly_mmd

from workflow_scripts.metrics import kernels
from workflow_scripts.metrics.kernels import (
    gaussian_kernel,
    gaussian_kernel_distance,
    kernel_distance,
    median_distance,
    polynomial_kernel,
)

SIGMA = 1.5
KERNELS = {
    "polynomial": polynomial_kernel,
    "gaussian": partial(gaussian_kernel, bandwidth=SIGMA),
}


def features(n: int, d: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Correlated, skewed features, as a network gives them."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(d, d)) / np.sqrt(d)
    return np.abs(rng.normal(shift, 1, (n, d)) @ mixing)


def term(kernel: str, a: np.ndarray, b: np.ndarray) -> float:
    """The kernel of two vectors, as its paper writes it."""
    if kernel == "polynomial":
        return (float(a @ b) / len(a) + 1) ** 3
    return float(np.exp(-np.sum((a - b) ** 2) / (2 * SIGMA**2)))


def naive_kernel_distance(x: np.ndarray, y: np.ndarray, kernel: str = "polynomial") -> float:
    """Bińkowski et al. (2018), equation 4, term by term."""
    k = partial(term, kernel)
    n, m = len(x), len(y)
    first = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    second = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return first + second - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("n", "m"), [(2, 2), (9, 14), (25, 7)])
def test_kernel_distance_agrees_with_a_loop(n, m, kernel):
    x, y = features(n, 6, 0), features(m, 6, 1, shift=0.4)
    value = kernel_distance(x, y, kernel=KERNELS[kernel]).value
    assert value == pytest.approx(naive_kernel_distance(x, y, kernel), rel=1e-9)


def test_gaussian_kernel_distance_agrees_with_a_library_and_is_blind_to_translation():
    x, y = features(60, 12, 0), features(50, 12, 1, shift=0.4)
    within, across = (
        [rbf_kernel(a, b, gamma=1 / (2 * SIGMA**2)) for a, b in pairs]
        for pairs in (((x, x), (y, y)), ((x, y),))
    )
    expected = sum((k.sum() - len(k)) / (len(k) * (len(k) - 1)) for k in within)
    expected -= 2 * across[0].mean()
    value = gaussian_kernel_distance(x, y, SIGMA).value
    assert value == pytest.approx(expected, rel=1e-9)
    far = gaussian_kernel_distance(x + 1e5, y + 1e5, SIGMA).value
    assert far == pytest.approx(expected, rel=1e-6)


@given(n=st.integers(2, 12), scale=st.floats(0.01, 100), seed=st.integers(0, 3))
def test_median_distance(n, scale, seed):
    x = features(n, 3, seed) * scale
    distances = [np.linalg.norm(x[i] - x[j]) for i in range(n) for j in range(i)]
    assert median_distance(x) == pytest.approx(np.median(distances), rel=1e-9)


def test_median_distance_of_equal_rows():
    x = np.full((7, 4), 1234.567)
    assert median_distance(x) == 1
    x[0] += 3
    assert median_distance(x) == pytest.approx(6)
    estimate = gaussian_kernel_distance(x, x, median_distance(x))
    assert np.isfinite(estimate.value)


def test_median_distance_of_many_rows_is_that_of_some():
    x = features(5000, 4, 0)
    assert median_distance(x) == pytest.approx(median_distance(x[:1900]), rel=0.03)


def test_kernel_distance_agrees_with_other_tools():
    x, y = features(150, 32, 0), features(150, 32, 1, shift=0.2)
    value = kernel_distance(x, y).value
    whole = cleanfid_kernel_distance(x, y, num_subsets=1, max_subset_size=150)
    assert value == pytest.approx(whole, rel=1e-6)
    assert value == pytest.approx(
        float(poly_mmd(torch.from_numpy(x), torch.from_numpy(y))), rel=1e-6
    )


def test_kernel_distance_is_the_same_in_blocks(monkeypatch):
    x, y = features(50, 8, 0), features(40, 8, 1)
    groups = np.arange(50) // 3
    whole = kernel_distance(x, y, groups)
    cut = kernels.blocks
    monkeypatch.setattr(kernels, "blocks", lambda count: cut(count, 7))
    pieces = kernel_distance(x, y, groups)
    assert pieces.value == pytest.approx(whole.value, rel=1e-10)
    assert (pieces.low, pieces.high) == pytest.approx((whole.low, whole.high), rel=1e-8)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("grouped", [False, True])
def test_jackknife_agrees_with_leaving_out_and_starting_anew(grouped, kernel):
    x, y = features(12, 4, 0), features(9, 4, 1, shift=0.5)
    of_x = np.array(list("aabbcccdefgh")) if grouped else np.arange(12)
    of_y = np.array(list("uuvwxyyyz")) if grouped else np.arange(9)
    variance = 0.0
    for groups, side in ((of_x, 0), (of_y, 1)):
        values = []
        for group in np.unique(groups):
            sets = [x, y]
            sets[side] = sets[side][groups != group]
            values.append(naive_kernel_distance(*sets, kernel))
        count = len(values)
        variance += (count - 1) / count * np.square(np.array(values) - np.mean(values)).sum()
    estimate = kernel_distance(x, y, of_x, of_y, kernel=KERNELS[kernel])
    half = 1.959964 * np.sqrt(variance)
    assert estimate.high - estimate.value == pytest.approx(half, rel=1e-6)
    assert estimate.value - estimate.low == pytest.approx(half, rel=1e-6)


def naive_stratified(x: np.ndarray, y: np.ndarray, of_x: np.ndarray, of_y: np.ndarray, share):
    """Σ p_k p_l of the mean kernels of classes k and l, within and across: term by term."""

    def mean(a, b, same):
        kernel = (a @ b.T / a.shape[1] + 1) ** 3
        if same:
            return (kernel.sum() - np.trace(kernel)) / (len(a) * (len(a) - 1))
        return kernel.mean()

    total = 0.0
    for k, p in share.items():
        for m, q in share.items():
            within = sum(mean(s[of == k], s[of == m], k == m) for s, of in ((x, of_x), (y, of_y)))
            total += p * q * (within - 2 * mean(x[of_x == k], y[of_y == m], False))
    return total


@pytest.mark.parametrize("grouped", [False, True])
def test_stratified_distance_and_jackknife_agree_with_a_loop(grouped):
    x, y = features(14, 4, 0), features(14, 4, 1, shift=0.5)
    of = np.array(list("AAAAAABBBBBCCC"))
    share = {name: np.mean(of == name) for name in "ABC"}
    # Patients, some with images of two classes.
    patients = np.array(list("aabcddaefghchi")) if grouped else np.arange(14)
    variance = 0.0
    for side in (0, 1):
        deviation = dict.fromkeys(patients, 0.0)
        for name in share:
            values = {}
            for patient in np.unique(patients[of == name]):
                keep = ~((patients == patient) & (of == name))
                sets, classes = [x, y], [of, of]
                sets[side], classes[side] = sets[side][keep], of[keep]
                values[patient] = naive_stratified(*sets, *classes, share)
            for patient, found in values.items():
                off = found - np.mean(list(values.values()))
                deviation[patient] += np.sqrt((len(values) - 1) / len(values)) * off
        variance += sum(off**2 for off in deviation.values())
    estimate = kernel_distance(x, y, patients, patients, of, of)
    assert estimate.value == pytest.approx(naive_stratified(x, y, of, of, share), rel=1e-9)
    assert estimate.high - estimate.value == pytest.approx(1.959964 * np.sqrt(variance), rel=1e-6)


def test_sets_of_fixed_class_numbers_are_compared_without_bias():
    """Two samples of one distribution, six classes far apart: 0 on average, and covered."""
    classes = np.repeat(np.arange(6), 25)
    centres = 3 * np.random.default_rng(0).normal(size=(6, 8))
    found, plain = [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        x, y = (centres[classes] + rng.normal(size=(150, 8)) for _ in range(2))
        found.append(kernel_distance(x, y, classes_x=classes, classes_y=classes))
        plain.append(kernel_distance(x, y).value)
    values = np.array([estimate.value for estimate in found])
    error = values.std() / np.sqrt(len(values))
    assert abs(values.mean()) < 3 * error
    assert np.mean(plain) < -20 * error, "which is what the weights are for"
    assert np.mean([estimate.low <= 0 <= estimate.high for estimate in found]) > 0.93


def test_a_class_of_one_image_is_refused_and_one_of_two_has_no_interval():
    x, y = features(6, 3, 0), features(6, 3, 1)
    few = np.array([0, 0, 0, 0, 0, 1])
    with pytest.raises(ValueError, match="of each class"):
        kernel_distance(x, y, classes_x=few, classes_y=few)
    few[4] = 1
    estimate = kernel_distance(x, y, classes_x=few, classes_y=few)
    assert np.isfinite(estimate.value)
    assert np.isnan(estimate.low)


@pytest.mark.parametrize("kernel", KERNELS)
def test_disjoint_halves_of_one_distribution_cover_zero(kernel):
    covered = []
    for seed in range(300):
        pool = features(120, 16, seed)
        estimate = kernel_distance(pool[:60], pool[60:], kernel=KERNELS[kernel])
        covered.append(estimate.low <= 0 <= estimate.high)
    assert np.mean(covered) > 0.93


@pytest.mark.parametrize("kernel", KERNELS)
def test_another_distribution_does_not_cover_zero(kernel):
    sets = features(60, 16, 0), features(60, 16, 1, shift=1.0)
    estimate = kernel_distance(*sets, kernel=KERNELS[kernel])
    assert estimate.low > 0


def test_intervals_are_by_patient():
    """Images of one patient in two classes, as sets hold them, are left out of both together."""
    of_patient = features(40, 8, 0)
    x, y = np.concatenate([of_patient, of_patient + 0.1]), features(80, 8, 1)
    classes, patients = np.repeat([0, 1], 40), np.tile(np.arange(40), 2)
    alone = kernel_distance(x, y, None, None, classes, classes)
    together = kernel_distance(x, y, patients, None, classes, classes)
    assert together.value == alone.value
    assert together.high - together.low > 1.1 * (alone.high - alone.low)


def test_too_few_images():
    x, one = features(5, 3, 0), features(1, 3, 1)
    for distance in (kernel_distance, partial(gaussian_kernel_distance, bandwidth=1.0)):
        with pytest.raises(ValueError, match="two images"):
            distance(x, one)
    assert np.isnan(kernel_distance(x[:2], x[2:]).low)
    assert np.isfinite(kernel_distance(x[:2], x[2:]).value)
