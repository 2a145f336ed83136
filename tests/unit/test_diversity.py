"""Diversity: which pairs, what distance, what interval."""

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)
from torchmetrics.functional.image.lpips import _LPIPS

from workflow_scripts.common.errors import InputError
from workflow_scripts.metrics.diversity import (
    BACKBONES,
    SCALE_WEIGHTS,
    lpips_distances,
    lpips_network,
    mean_and_variance,
    msssim_distances,
    random_pairs,
    ratio,
    scale_weights,
)


def films(count: int, seed: int, spread: float = 60.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = rng.normal(0, spread, (count, 8, 8)).repeat(8, axis=1).repeat(8, axis=2)
    return (128 + smooth + rng.normal(0, 4, smooth.shape)).clip(0, 255).astype(np.uint8)


@given(
    patients=st.lists(st.integers(0, 6), min_size=0, max_size=30).map(np.array),
    count=st.integers(1, 40),
    seed=st.integers(0, 9),
)
def test_pairs_are_different_and_of_different_patients(patients, count, seed):
    pairs = random_pairs(patients, count, np.random.default_rng(seed))
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    assert (patients[pairs[:, 0]] != patients[pairs[:, 1]]).all() if len(pairs) else True
    possible = sum(patients[i] != patients[j] for j in range(len(patients)) for i in range(j))
    assert len(pairs) == min(count, possible)


def test_pairs_are_all_equally_likely():
    drawn = np.concatenate(
        [random_pairs(np.arange(5), 2, np.random.default_rng(seed)) for seed in range(3000)]
    )
    _, times = np.unique(drawn, axis=0, return_counts=True)
    assert len(times) == 10
    assert np.abs(times - 600).max() < 120  # five standard deviations


def test_msssim_distance():
    images = films(66, 0)
    distances = msssim_distances(images, images[::-1].copy())
    assert distances.shape == (66,)
    np.testing.assert_allclose(distances, distances[::-1], atol=1e-6)
    np.testing.assert_allclose(msssim_distances(images[:3], images[:3]), 0, atol=1e-6)
    near = (images[:3] * 0.98).astype(np.uint8)
    assert (msssim_distances(images[:3], near) < distances[:3]).all()


def test_msssim_is_torchmetrics_on_grey_levels_from_0_to_255():
    first, second = (films(3, seed).repeat(3, axis=1).repeat(3, axis=2) for seed in (0, 1))
    assert first.shape[1:] == (192, 192)  # room for all five scales
    expected = multiscale_structural_similarity_index_measure(
        *(torch.from_numpy(side)[:, None].double() for side in (first, second)),
        data_range=255.0,
        reduction="none",
    )
    np.testing.assert_allclose(msssim_distances(first, second), 1 - expected.numpy(), atol=1e-5)


def test_msssim_at_one_scale_is_ssim_and_brightness_counts_from_black():
    first, second = (films(3, seed)[:, :16, :16] for seed in (0, 1))
    expected = structural_similarity_index_measure(
        *(torch.from_numpy(side.copy())[:, None].double() for side in (first, second)),
        data_range=255.0,
        reduction="none",
    )
    expected = expected.clamp(min=0).numpy()
    np.testing.assert_allclose(msssim_distances(first, second), 1 - expected, atol=1e-4)
    # Flat images have brightness alone: 2 μν / (μ² + ν²).
    flat = [np.full((1, 16, 16), grey, np.uint8) for grey in (50, 100)]
    assert msssim_distances(*flat)[0] == pytest.approx(1 - 0.8, abs=1e-3)


@pytest.mark.parametrize(
    ("size", "scales"), [(16, 1), (32, 2), (64, 3), (96, 3), (128, 4), (176, 5), (256, 5)]
)
def test_as_many_scales_as_fit(size, scales):
    weights = scale_weights(size)
    assert len(weights) == scales
    assert sum(weights) == pytest.approx(1)
    assert weights[0] / weights[-1] == pytest.approx(SCALE_WEIGHTS[0] / SCALE_WEIGHTS[scales - 1])
    images = np.random.default_rng(0).integers(0, 256, (2, size, size), dtype=np.uint8)
    assert np.isfinite(msssim_distances(images, images[::-1].copy())).all()


@pytest.mark.parametrize("net", BACKBONES)
def test_lpips_from_a_local_backbone_is_torchmetrics(net, tmp_path, monkeypatch):
    """torchmetrics would fetch the backbone through torch's hub; give it the same one there."""
    torch.manual_seed(1)
    backbone = torchvision.models.get_model(BACKBONES[net], weights=None)
    torch.save(backbone.state_dict(), tmp_path / "backbone.pth")
    monkeypatch.setattr(
        "torchmetrics.functional.image.lpips._get_tv_model_features",
        lambda name, pretrained: backbone.features if pretrained else pytest.fail("not asked for"),
    )
    expected = _LPIPS(net=net, pnet_rand=False)
    monkeypatch.undo()
    network = lpips_network(net, tmp_path / "backbone.pth")
    first, second = films(3, 0), films(3, 1)
    colour = [
        torch.from_numpy(side)[:, None].repeat(1, 3, 1, 1) / 127.5 - 1 for side in (first, second)
    ]
    distances = lpips_distances(network, first, second)
    np.testing.assert_allclose(distances, expected(*colour).flatten().numpy(), rtol=1e-5)
    assert (distances > 0).all()
    np.testing.assert_allclose(lpips_distances(network, first, first), 0, atol=1e-7)


def test_another_backbone_is_refused(tmp_path):
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth.*alexnet"):
        lpips_network("alex", tmp_path / "other.pth")


def test_jackknife_agrees_with_leaving_out_and_starting_anew():
    rng = np.random.default_rng(0)
    owners = np.array(list("abcabdbcacbdad")).reshape(-1, 2)
    owners = owners[owners[:, 0] != owners[:, 1]]
    distances = rng.random(len(owners))
    values = np.array(
        [distances[(owners != owner).all(axis=1)].mean() for owner in np.unique(owners)]
    )
    mean, variance = mean_and_variance(distances, owners)
    assert mean == pytest.approx(distances.mean())
    assert variance == pytest.approx(3 / 4 * np.square(values - values.mean()).sum())
    assert np.isnan(mean_and_variance(distances[:1], owners[:1])[1])


def test_ratio_tells_a_collapsed_set():
    real, same = films(40, 0), films(40, 1)
    collapsed = films(1, 2).repeat(40, axis=0) // 2 + films(40, 3) // 2

    def spread(images):
        pairs = random_pairs(np.arange(40), 60, np.random.default_rng(0))
        return mean_and_variance(msssim_distances(*(images[side] for side in pairs.T)), pairs)

    alike = ratio(spread(same), spread(real))
    assert alike.low < 1 < alike.high
    fewer = ratio(spread(collapsed), spread(real))
    assert fewer.high < 1
    none = ratio((0.0, 0.0), spread(real))
    assert (none.value, none.low, none.high) == (0, 0, 0)


def test_there_is_no_ratio_to_images_that_are_all_alike():
    constant = np.arange(256, dtype=np.uint8)[:, None, None].repeat(64, axis=1).repeat(64, axis=2)
    rounding = msssim_distances(constant, constant).max()
    assert rounding > 0
    for other in (rounding, 0.0, np.nan):
        assert np.isnan(ratio((0.3, 0.01), (other, 0.0)).value)
