"""Distances between feature sets against closed forms, independent references and other tools."""

import numpy as np
import pytest
import scipy.linalg
import torch
from cleanfid.fid import fid_from_feats
from cleanfid.fid import kernel_distance as cleanfid_kernel_distance
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from workflow_scripts.evaluate.distances import frechet_distance, kernel_distance


def features(n: int, d: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Correlated, skewed features, as a network gives them."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(d, d)) / np.sqrt(d)
    return np.abs(rng.normal(shift, 1, (n, d)) @ mixing)


def whitened(n: int, d: int, seed: int) -> np.ndarray:
    """A sample whose mean is exactly 0 and whose covariance is exactly the identity."""
    x = np.random.default_rng(seed).normal(size=(n, d))
    x -= x.mean(axis=0)
    return np.linalg.solve(np.linalg.cholesky(np.atleast_2d(np.cov(x, rowvar=False))), x.T).T


def sqrtm_reference(x: np.ndarray, y: np.ndarray) -> float:
    """The formula as it stands in the paper, with scipy's matrix root."""
    first, second = (np.cov(side, rowvar=False) for side in (x, y))
    root = scipy.linalg.sqrtm(first @ second)
    shift = x.mean(axis=0) - y.mean(axis=0)
    return float(shift @ shift + np.trace(first) + np.trace(second) - 2 * np.trace(root).real)


def eigen_reference(x: np.ndarray, y: np.ndarray) -> float:
    """tr (Σ₁Σ₂)^½ as tr (Σ₁^½ Σ₂ Σ₁^½)^½ by eigendecomposition: exact for singular Σ too."""
    first, second = (np.cov(side, rowvar=False) for side in (x, y))
    values, vectors = np.linalg.eigh(first)
    half = vectors * np.sqrt(values.clip(0)) @ vectors.T
    root = np.sqrt(np.linalg.eigvalsh(half @ second @ half).clip(0)).sum()
    shift = x.mean(axis=0) - y.mean(axis=0)
    return float(shift @ shift + np.trace(first) + np.trace(second) - 2 * root)


@given(
    scales=st.lists(st.tuples(st.floats(0.1, 5), st.floats(0.1, 5)), min_size=1, max_size=6),
    shift=st.floats(-3, 3),
)
def test_frechet_closed_form_of_aligned_gaussians(scales, shift):
    first, second = np.array(scales).T
    d = len(first)
    x = whitened(40, d, 0) * first
    y = whitened(50, d, 1) * second + shift
    expected = d * shift**2 + np.square(first - second).sum()
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize(("n", "m", "d"), [(300, 300, 48), (90, 400, 64)])
def test_frechet_agrees_with_matrix_root_and_with_other_tools(n, m, d):
    x, y = features(n, d, 0), features(m, d, 1, shift=0.3)
    value = frechet_distance(x, y)
    assert value == pytest.approx(sqrtm_reference(x, y), rel=1e-6)
    assert value == pytest.approx(fid_from_feats(x, y), rel=1e-6)
    moments = [
        torch.from_numpy(moment)
        for side in (x, y)
        for moment in (side.mean(axis=0), np.cov(side, rowvar=False))
    ]
    assert value == pytest.approx(float(_compute_fid(*moments)), rel=1e-6)


@pytest.mark.parametrize(("n", "m"), [(12, 12), (2, 2), (20, 300), (300, 20)])
def test_frechet_with_fewer_images_than_features(n, m):
    x, y = features(n, 64, 0), features(m, 64, 1, shift=0.3)
    assert frechet_distance(x, y) == pytest.approx(eigen_reference(x, y), rel=1e-6)


def test_frechet_takes_singular_covariances():
    x, y = features(200, 16, 0), features(200, 16, 1)
    x[:, 3], y[:, 3] = 0, 0  # a unit that never fires
    x[:, 5] = x[:, 6]
    assert frechet_distance(x, y) == pytest.approx(eigen_reference(x, y), rel=1e-6)


@settings(max_examples=25)
@given(n=st.integers(2, 40), d=st.integers(1, 20), seed=st.integers(0, 5))
def test_frechet_is_a_distance(n, d, seed):
    x, y = features(n, d, seed), features(n + 1, d, seed + 10, shift=0.5)
    scale = np.var(x) * d
    assert frechet_distance(x, x) <= 1e-12 * scale + 1e-14
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-9)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]
    assert frechet_distance(x @ turn + 3, y @ turn + 3) == pytest.approx(
        frechet_distance(x, y), rel=1e-6, abs=1e-10
    )


def naive_kernel_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Bińkowski et al. (2018), equation 4, term by term."""

    def k(a, b):
        return (float(a @ b) / len(a) + 1) ** 3

    n, m = len(x), len(y)
    first = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    second = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return first + second - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (9, 14), (25, 7)])
def test_kernel_distance_agrees_with_a_loop(n, m):
    x, y = features(n, 6, 0), features(m, 6, 1, shift=0.4)
    assert kernel_distance(x, y).value == pytest.approx(naive_kernel_distance(x, y), rel=1e-9)


def test_kernel_distance_agrees_with_other_tools():
    x, y = features(150, 32, 0), features(150, 32, 1, shift=0.2)
    value = kernel_distance(x, y).value
    whole = cleanfid_kernel_distance(x, y, num_subsets=1, max_subset_size=150)
    assert value == pytest.approx(whole, rel=1e-6)
    assert value == pytest.approx(
        float(poly_mmd(torch.from_numpy(x), torch.from_numpy(y))), rel=1e-6
    )


def test_kernel_distance_is_the_same_in_blocks(monkeypatch):
    from workflow_scripts.evaluate import distances

    x, y = features(50, 8, 0), features(40, 8, 1)
    groups = np.arange(50) // 3
    whole = kernel_distance(x, y, groups)
    cut = distances.blocks
    monkeypatch.setattr(distances, "blocks", lambda count: cut(count, 7))
    pieces = kernel_distance(x, y, groups)
    assert pieces.value == pytest.approx(whole.value, rel=1e-10)
    assert (pieces.low, pieces.high) == pytest.approx((whole.low, whole.high), rel=1e-8)


@pytest.mark.parametrize("grouped", [False, True])
def test_jackknife_agrees_with_leaving_out_and_starting_anew(grouped):
    x, y = features(12, 4, 0), features(9, 4, 1, shift=0.5)
    of_x = np.array(list("aabbcccdefgh")) if grouped else np.arange(12)
    of_y = np.array(list("uuvwxyyyz")) if grouped else np.arange(9)
    variance = 0.0
    for groups, side in ((of_x, 0), (of_y, 1)):
        values = []
        for group in np.unique(groups):
            sets = [x, y]
            sets[side] = sets[side][groups != group]
            values.append(naive_kernel_distance(*sets))
        count = len(values)
        variance += (count - 1) / count * np.square(np.array(values) - np.mean(values)).sum()
    estimate = kernel_distance(x, y, of_x, of_y)
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


def test_disjoint_halves_of_one_distribution_cover_zero():
    covered = []
    for seed in range(300):
        pool = features(120, 16, seed)
        estimate = kernel_distance(pool[:60], pool[60:])
        covered.append(estimate.low <= 0 <= estimate.high)
    assert np.mean(covered) > 0.93


def test_another_distribution_does_not_cover_zero():
    estimate = kernel_distance(features(60, 16, 0), features(60, 16, 1, shift=1.0))
    assert estimate.low > 0


def test_images_of_one_patient_count_once():
    x, y = np.repeat(features(40, 8, 0), 3, axis=0), features(120, 8, 1)
    patients = np.repeat(np.arange(40), 3)
    alone, together = kernel_distance(x, y), kernel_distance(x, y, patients)
    assert together.value == alone.value
    assert together.high - together.low > 1.2 * (alone.high - alone.low)


def test_too_few_images():
    x, one = features(5, 3, 0), features(1, 3, 1)
    for distance in (frechet_distance, kernel_distance):
        with pytest.raises(ValueError, match="two images"):
            distance(x, one)
    assert np.isnan(kernel_distance(x[:2], x[2:]).low)
    assert np.isfinite(kernel_distance(x[:2], x[2:]).value)
