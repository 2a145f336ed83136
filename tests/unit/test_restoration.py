"""PSNR, SSIM and MAE against scikit-image, and what is made of them."""

import numpy as np
import pandas as pd
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from workflow_scripts.common.schemas import RESTORATION, RESTORATION_SUMMARY
from workflow_scripts.common.tables import checked
from workflow_scripts.metrics.restoration import judge, mae, psnr, ssim
from workflow_scripts.metrics.restoration_summary import summarise

GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


def pair(shape=(40, 32), seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    truth = scale * rng.random(shape)
    return truth, truth + 0.1 * scale * rng.normal(size=shape)


@pytest.mark.parametrize("scale", [1.0, 255.0])
@pytest.mark.parametrize("shape", [(40, 32), (24, 24, 3)])
def test_measures_are_those_of_scikit_image(shape, scale):
    truth, image = pair(shape, scale=scale)
    channels = {"channel_axis": 2} if len(shape) == 3 else {}
    found = judge(truth, image, scale)
    assert found["psnr"] == pytest.approx(peak_signal_noise_ratio(truth, image, data_range=scale))
    expected = structural_similarity(truth, image, data_range=scale, **GAUSSIAN, **channels)
    assert found["ssim"] == pytest.approx(expected)
    assert found["mae"] == pytest.approx(np.abs(truth - image).mean() / scale)


def test_whole_numbers_do_not_wrap_around():
    truth, image = np.zeros((16, 16), np.uint8), np.full((16, 16), 200, np.uint8)
    assert mae(truth, image, 255) == mae(image, truth, 255) == pytest.approx(200 / 255)
    assert psnr(image, truth, 255) == pytest.approx(20 * np.log10(255 / 200))
    deep = np.zeros((16, 16), np.uint16), np.full((16, 16), 50_000, np.uint16)
    assert ssim(*deep, 65_535) == pytest.approx(ssim(*[x / 65_535 for x in deep], 1.0))


def test_a_mask_leaves_the_rest_out():
    truth, image = pair()
    mask = np.zeros(truth.shape, dtype=bool)
    mask[5:30, 8:20] = True
    inside = truth[mask][None], image[mask][None]
    assert psnr(truth, image, 1, mask) == pytest.approx(
        peak_signal_noise_ratio(*inside, data_range=1)
    )
    assert mae(truth, image, 1, mask) == pytest.approx(np.abs(inside[0] - inside[1]).mean())
    _, each = structural_similarity(truth, image, data_range=1, full=True, **GAUSSIAN)
    assert ssim(truth, image, 1, mask) == pytest.approx(each[mask].mean())
    spoiled = image.copy()
    spoiled[0, 0] = 9  # beyond the reach of any window of the mask
    assert judge(truth, spoiled, 1, mask) == judge(truth, image, 1, mask)
    assert psnr(truth, spoiled, 1) < psnr(truth, image, 1)


def test_a_full_mask_counts_the_border_that_scikit_image_cuts_off():
    truth, image = pair()
    image[:5] = truth[:5]
    assert ssim(truth, image, 1, np.ones(truth.shape, dtype=bool)) > ssim(truth, image, 1)


def test_equal_images():
    truth, _ = pair()
    assert judge(truth, truth, 1) == {"psnr": 100, "ssim": pytest.approx(1), "mae": 0}


def test_the_data_range_is_never_guessed():
    truth, image = pair()
    assert psnr(truth, image, 2) == pytest.approx(psnr(truth, image, 1) + 20 * np.log10(2))
    assert mae(truth, image, 2) == pytest.approx(mae(truth, image, 1) / 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image": np.zeros((40, 31))}, "one shape"),
        ({"data_range": 0}, "data range"),
        ({"mask": np.zeros((40, 32), dtype=bool)}, "one pixel or more"),
        ({"mask": np.ones((40, 32))}, "mask"),
        ({"image": np.full((40, 32), np.nan)}, "finite"),
        ({"truth": np.zeros((10, 40)), "image": np.zeros((10, 40))}, "11 pixels"),
    ],
)
def test_what_cannot_be_judged_is_refused(change, said):
    truth, image = pair()
    case = {"truth": truth, "image": image, "data_range": 1} | change
    with pytest.raises(ValueError, match=said):
        judge(**case)


# -- the summary


def rows(methods=(("nlm", 1, 0.0), ("ddpm", 1, 1.0), ("ddpm", 8, 2.0)), conditions=("a", "b")):
    """Thirty patients of two images; each method is better than the first by a constant."""
    rng = np.random.default_rng(0)
    base = rng.normal(30, 3, 60)
    parts = []
    for place, condition in enumerate(conditions):
        for method, samples, gain in methods:
            part = pd.DataFrame(
                {
                    "image_id": [f"i{k}" for k in range(60)],
                    "patient_id": [f"p{k // 2}" for k in range(60)],
                    "condition": condition,
                    "method": method,
                    "samples": samples,
                    "psnr": base + gain - 5 * place + 0.1 * rng.normal(size=60),
                    "ssim": 0.5 + 0.01 * gain,
                    "mae": 0.1 - 0.01 * gain,
                }
            )
            parts.append(part.sample(frac=1, random_state=3))
    return checked(pd.concat(parts, ignore_index=True), "rows", RESTORATION)


def test_a_summary_has_means_and_paired_differences():
    found = checked(summarise(rows(), "nlm", 400, 7), "summary", RESTORATION_SUMMARY)
    assert len(found) == 2 * 3 * 3 and set(found["n_patients"]) == {30}
    table = found.set_index(["condition", "method", "samples", "metric"]).sort_index()
    raw = rows()
    for (condition, method, samples), part in raw.groupby(["condition", "method", "samples"]):
        row = table.loc[condition, method, samples, "psnr"]
        assert row["value"] == pytest.approx(part["psnr"].mean())
        assert row["low"] < row["value"] < row["high"]
    assert table.loc["a", "nlm", 1]["difference"].isna().all()
    gain = table.loc["b", "ddpm", 8, "psnr"]
    assert gain["difference"] == pytest.approx(2, abs=0.1)
    assert 1.8 < gain["difference_low"] < gain["difference"] < gain["difference_high"] < 2.2
    assert table.loc["a", "ddpm", 1, "mae"]["difference"] == pytest.approx(-0.01)


def test_a_summary_is_seeded():
    one, same, other = (summarise(rows(), "nlm", 100, seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same)
    assert (one["low"] != other["low"]).any()


def test_without_the_reference_there_are_no_differences():
    found = summarise(rows(), "bicubic", 50, 0)
    assert found["difference"].isna().all() and found["value"].notna().all()


def test_a_reference_of_several_answers_is_refused():
    with pytest.raises(ValueError, match="a: ddpm, the reference, has several answers"):
        summarise(rows(), "ddpm", 50, 0)


def test_lpips_is_summed_up_where_it_was_measured():
    found = summarise(rows().assign(lpips=0.25), "nlm", 50, 0)
    assert (found.loc[found["metric"] == "lpips", "value"] == 0.25).all()
    assert set(found["metric"]) == {"psnr", "ssim", "mae", "lpips"}


def test_methods_that_saw_other_images_are_not_compared():
    with pytest.raises(ValueError, match="judged on other images"):
        summarise(rows().iloc[1:], "nlm", 50, 0)
