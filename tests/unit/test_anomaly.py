"""Searching for what is not healthy: residual maps, their scores, and what the scores say."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from matplotlib.contour import QuadContourSet
from matplotlib.text import Text
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from workflow_scripts.anomaly.figures import (
    COLOURS,
    MEASURES,
    PHANTOM,
    Example,
    Healed,
    draw_examples,
    draw_findings,
    draw_sweep,
)
from workflow_scripts.anomaly.judged import judged_images
from workflow_scripts.anomaly.plot_anomaly import typical
from workflow_scripts.anomaly.residuals import (
    average_precision,
    dice_curve,
    image_scores,
    peak_inside,
    pixel_auroc,
    residual_maps,
)
from workflow_scripts.anomaly.score_images import located, score_images, with_dice
from workflow_scripts.anomaly.summary import Split, summarise
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import (
    ANOMALY_SCORES,
    ANOMALY_SUMMARY,
    IMAGES,
    MACRO,
    REGIONS,
)
from workflow_scripts.common.tables import read_table, table_of, write_table

SIZE = 32
CLASSES = ["No Finding", "Effusion", "Mass"]
SETTINGS = {"healthy": "No Finding", "per_class": None, "seed": 3}


# -- maps and scores


def test_a_residual_is_in_grey_levels_whatever_the_depth_and_the_channels():
    one = np.full((2, SIZE, SIZE), 100, np.uint8)
    two = np.full((2, SIZE, SIZE), 70, np.uint8)
    assert residual_maps(one, two) == pytest.approx(30)
    assert residual_maps(two, one) == pytest.approx(30)
    deep = (one.astype(np.uint16) * 257, two.astype(np.uint16) * 257)
    assert residual_maps(*deep) == pytest.approx(30)
    colour = np.stack([one, one, one], axis=-1), np.stack([two, one, one], axis=-1)
    assert residual_maps(*colour) == pytest.approx(10)
    with pytest.raises(InputError, match="not alike"):
        residual_maps(one, deep[1])


def test_smoothing_spreads_one_pixel_and_keeps_the_sum():
    one = np.zeros((1, SIZE, SIZE), np.uint8)
    two = one.copy()
    two[0, 16, 16] = 255
    (found,) = residual_maps(one, two)
    assert found.sum() == pytest.approx(255, rel=1e-4)
    assert found.max() == found[16, 16] < 64


def test_the_score_is_the_mean_of_the_largest_twentieth():
    maps = np.arange(400, dtype=np.float32).reshape(1, 20, 20)
    assert image_scores(maps) == pytest.approx([np.arange(380, 400).mean()])
    assert image_scores(maps[:, ::-1]) == image_scores(maps), "wherever they are"


@pytest.mark.parametrize("ties", [False, True])
def test_measures_of_pixels_are_those_of_scikit_learn(ties):
    rng = np.random.default_rng(0)
    residual = rng.normal(50, 20, (SIZE, SIZE)).clip(0, 255)
    region = np.zeros((SIZE, SIZE), bool)
    region[5:12, 8:20] = True
    residual[region] += 15
    residual = residual.round() if ties else residual
    flat = region.ravel(), residual.ravel()
    assert pixel_auroc(residual, region) == pytest.approx(roc_auc_score(*flat))
    assert average_precision(residual, region) == pytest.approx(average_precision_score(*flat))
    curve = dice_curve(residual, region)
    for threshold in (0, 40, 80):
        expected = f1_score(region.ravel(), residual.ravel() >= threshold)
        assert curve[threshold] == pytest.approx(expected)


def test_a_planted_lesion_is_found():
    """Of two versions of a film that differ in a disc, the map is large there and nowhere else."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:SIZE, :SIZE]
    disc = (x - 20) ** 2 + (y - 10) ** 2 < 16
    films = rng.integers(60, 90, (20, SIZE, SIZE)).astype(np.uint8)
    healed = (films + rng.integers(0, 8, films.shape)).astype(np.uint8)
    ill = films.copy()
    ill[:10, disc] += 60
    maps = residual_maps(ill, healed)
    scores = image_scores(maps)
    assert scores[:10].min() > scores[10:].max()
    for residual in maps[:10]:
        assert pixel_auroc(residual, disc) > 0.98
        assert average_precision(residual, disc) > 0.9
        assert peak_inside(residual, disc)
        assert not peak_inside(residual, ~disc)
        assert dice_curve(residual, disc).max() > 0.8


def test_the_threshold_of_dice_comes_from_validation_alone():
    region = np.zeros((SIZE, SIZE), bool)
    region[:8, :8] = True
    val, test = np.where(region, 100.0, 20.0), np.where(region, 60.0, 20.0)
    where = {3: located(val, region), 5: located(test, region)}
    split = pd.Series("test", index=range(8))
    table = with_dice(where, split.where(split.index != 3, "val"))
    assert table.index.tolist() == [3, 5]
    assert table["threshold"].tolist() == [21, 21], "the least that is best"
    assert table["dice"].tolist() == [1, 1]
    # A threshold that suits the one test image would have been found as well, but was not sought.
    other = {3: located(val, region), 5: located(np.where(region, 15.0, 5.0), region)}
    assert with_dice(other, split.where(split.index != 3, "val"))["dice"].tolist() == [1, 0]
    table = with_dice(where, split)
    assert table["dice"].isna().all()
    assert table["pixel_auroc"].tolist() == [1, 1]
    table = with_dice({}, split)
    assert table.empty
    assert {"dice", "hit", "region"} <= set(table.columns)


# -- which images


def images(counts: dict[str, int], split: str, start: int = 0) -> pd.DataFrame:
    """Rows of IMAGES: so many of each class, two of each patient."""
    names = [name for name, count in counts.items() for _ in range(count)]
    number = np.arange(start, start + len(names))
    return pd.DataFrame(
        {
            "image_id": [f"{k:04d}" for k in number],
            "patient_id": [f"p{k // 2}" for k in number],
            "class_id": [CLASSES.index(name) for name in names],
            "class_name": names,
            "findings": names,
            "age_years": 50.0,
            "sex": "F",
            "view": "PA",
            "split": split,
            "shard": "films",
            "row": number,
        }
    )


@pytest.fixture
def table() -> pd.DataFrame:
    parts = [("train", 0), ("val", 100), ("test", 200)]
    counts = {"No Finding": 20, "Effusion": 12, "Mass": 8}
    return pd.concat([images(counts, *part) for part in parts], ignore_index=True)


def test_no_training_image_is_judged_and_none_with_several_findings(table):
    table.loc[table["image_id"] == "0220", "findings"] = "Effusion|Mass"
    rows = judged_images(table, None, 1)
    assert set(rows["split"]) == {"val", "test"}
    assert "0220" not in set(rows["image_id"])
    assert len(rows) == 79


def test_at_most_so_many_of_each_class_and_split(table):
    rows = judged_images(table, 10, 1)
    counts = rows.groupby(["split", "class_name"]).size()
    assert counts["test", "No Finding"] == counts["val", "Effusion"] == 10
    assert counts["test", "Mass"] == 8
    assert rows["image_id"].is_monotonic_increasing
    assert set(rows["image_id"]) != set(judged_images(table, 10, 2)["image_id"])
    assert rows.equals(judged_images(table, 10, 1))


# -- the step


def test_the_step_scores_every_image_in_every_way_and_locates_where_regions_are_known(
    table, tmp_path
):
    rng = np.random.default_rng(0)
    films = rng.integers(60, 90, (300, SIZE, SIZE)).astype(np.uint8)
    healthy = films.copy()
    masks = np.zeros((2, SIZE, SIZE), np.uint8)
    masks[:, 4:12, 16:24] = 1
    ill = table[table["class_name"] != "No Finding"]["row"].to_numpy()
    films[ill, 4:12, 16:24] += 80
    write_table(table, tmp_path / "images.parquet", IMAGES)
    np.save(tmp_path / "films.npy", films)
    np.save(tmp_path / "masks.npy", masks)
    regions = pd.DataFrame(
        {
            "image_id": ["0120", "0220", "0221", "0000"],
            "finding": ["Effusion", "Effusion", "Mass", "Effusion"],  # 0221 shows an effusion
            "shard": "masks",
            "row": [0, 1, 1, 0],
            "pixels": 64,
        }
    )
    write_table(regions, tmp_path / "masks.parquet", REGIONS)
    rows = judged_images(table, None, 3)
    np.save(tmp_path / "good.npy", healthy[rows["row"]])
    np.save(tmp_path / "bad.npy", films[rows["row"]])
    versions = [
        ("gaussian", 1.0, tmp_path / "good.npy"),
        ("autoencoder", 0.0, tmp_path / "bad.npy"),
    ]
    arguments = (tmp_path / "images.parquet", [tmp_path / "films.npy"])
    places = ([tmp_path / "masks.parquet"], [tmp_path / "masks.npy"], tmp_path / "scores.parquet")
    score_images(*arguments, versions, *places, SETTINGS)
    scores = read_table(tmp_path / "scores.parquet", ANOMALY_SCORES)
    assert len(scores) == 2 * len(rows)
    good = scores[scores["method"] == "gaussian"].set_index("image_id")
    assert good["region"].dropna().index.tolist() == ["0120", "0220"]
    assert good.loc["0220", ["hit", "region"]].tolist() == [1, 64 / SIZE**2]
    assert good.loc["0220", "pixel_auroc"] > 0.99
    assert good.loc[good["class_name"] != "No Finding", "score"].min() > 40
    assert (good.loc[good["class_name"] == "No Finding", "score"] == 0).all()
    assert (scores.loc[scores["method"] == "autoencoder", "score"] == 0).all()
    np.save(tmp_path / "bad.npy", films[:3])
    with pytest.raises(InputError, match="holds 3 images, not 80"):
        score_images(*arguments, versions, *places, SETTINGS)


# -- the summary


def scores(separation: float, seed: int = 0, count: int = 60) -> pd.DataFrame:
    """ANOMALY_SCORES of two levels and the autoencoder; only level 1 separates."""
    rng, rows = np.random.default_rng(seed), []
    for split in ("val", "test"):
        for number in range(3 * count):
            name = CLASSES[number % 3]
            image = {
                "image_id": f"{split}{number:04d}",
                "patient_id": f"{split}{number // 2}",
                "class_id": number % 3,
                "class_name": name,
                "split": split,
            }
            for method, level in (("gaussian", 0.5), ("gaussian", 1.0), ("autoencoder", 0.0)):
                apart = separation * (name != "No Finding") * (level == 1)
                known = name == "Effusion"
                rows.append(
                    image
                    | {"method": method, "level": level, "score": rng.normal(50 + 10 * apart, 10)}
                    | {"region": 0.1 if known else None, "threshold": 20 if known else None}
                    | {"pixel_auroc": rng.uniform(0.6, 0.9) if known else None}
                    | {"average_precision": rng.uniform(0.3, 0.5) if known else None}
                    | {"hit": rng.integers(2) if known else None}
                    | {"dice": rng.uniform(0.2, 0.4) if known else None}
                )
    return table_of(rows, ANOMALY_SCORES)


def row(summary: pd.DataFrame, measure: str, name: str, method: str, level: float) -> pd.Series:
    found = summary[
        (summary["measure"] == measure)
        & (summary["class_name"] == name)
        & (summary["method"] == method)
        & (summary["level"] == level)
    ]
    assert len(found) == 1
    return found.iloc[0]


def test_what_separates_is_chosen_on_validation_and_told_of_test():
    given = scores(2.0)
    summary = summarise(given, CLASSES, "No Finding", 300, 1)
    ANOMALY_SUMMARY.validate(summary)
    chosen = summary[summary["chosen"]]
    assert set(zip(chosen["method"], chosen["level"], strict=True)) == {
        ("gaussian", 1.0), ("autoencoder", 0.0)
    }  # fmt: skip
    one = row(summary, "auroc", "Mass", "gaussian", 1)
    test = given[
        (given["split"] == "test") & (given["level"] == 1) & (given["class_name"] != "Effusion")
    ]
    assert one["value"] == pytest.approx(roc_auc_score(test["class_name"] == "Mass", test["score"]))
    assert one["low"] < one["value"] < one["high"]
    assert one["value"] > 0.85
    assert one["difference_low"] > 0
    assert (one["positives"], one["n_images"]) == (60, 120)
    both = [row(summary, "auroc", name, "gaussian", 1)["value"] for name in CLASSES[1:]]
    mean = row(summary, "auroc", MACRO, "gaussian", 1)
    assert mean["value"] == pytest.approx(np.mean(both))
    assert mean["n_images"] == 180
    assert mean["low"] <= mean["value"] <= mean["high"]


def test_test_images_choose_nothing():
    given = scores(2.0)
    test = given["split"] == "test"
    swapped = given.copy()
    levels = swapped.loc[test, "level"].map({0.5: 1.0, 1.0: 0.5, 0.0: 0.0})
    swapped.loc[test, "level"] = levels
    for table, expected in ((given, 1.0), (swapped, 1.0)):
        summary = summarise(table, CLASSES, "No Finding", 100, 1)
        chosen = summary[summary["chosen"] & (summary["method"] == "gaussian")]
        assert set(chosen["level"]) == {expected}


def test_shuffled_labels_are_chance():
    covered = 0
    for seed in range(10):
        summary = summarise(scores(0.0, seed), CLASSES, "No Finding", 200, 1)
        one = row(summary, "auroc", MACRO, "gaussian", 1)
        covered += one["low"] <= 0.5 <= one["high"]
        assert one["value"] == pytest.approx(0.5, abs=0.15)
    assert covered >= 8


def test_where_a_finding_is_is_a_mean_over_images_with_a_known_region():
    given = scores(1.0)
    summary = summarise(given, CLASSES, "No Finding", 200, 1)
    own = given[(given["split"] == "test") & (given["level"] == 1)]
    for measure in ("pixel_auroc", "average_precision", "dice", "hit"):
        one = row(summary, measure, "Effusion", "gaussian", 1)
        assert one["value"] == pytest.approx(own[measure].mean())
        assert one["n_images"] == one["positives"] == 60
        assert row(summary, measure, MACRO, "gaussian", 1)["value"] == pytest.approx(one["value"])
        assert summary[(summary["measure"] == measure) & (summary["class_name"] == "Mass")].empty
    assert row(summary, "average_precision", "Effusion", "gaussian", 1)["chance"] == pytest.approx(
        0.1
    )
    assert row(summary, "dice", "Effusion", "gaussian", 1)["chance"] == pytest.approx(0.2 / 1.1)
    assert row(summary, "pixel_auroc", "Effusion", "gaussian", 1)["chance"] == 0.5


def test_intervals_are_of_patients_not_of_images():
    """Ten images of one patient tell as much as one."""
    given = scores(0.7, count=30)
    more = pd.concat(
        [given.assign(image_id=given["image_id"] + f"-{k}") for k in range(10)], ignore_index=True
    )
    widths = []
    for table in (given, more):
        one = row(summarise(table, CLASSES, "No Finding", 400, 1), "auroc", "Mass", "gaussian", 1)
        widths.append(one["high"] - one["low"])
    assert widths[1] == pytest.approx(widths[0], rel=0.15)


def test_auroc_is_the_weighted_share_of_pairs_that_the_score_ranks_rightly():
    rng = np.random.default_rng(2)
    given = scores(1.0)
    given["score"] = given["score"].round(-1)  # with ties
    split = Split(given, "test", CLASSES[1:], "No Finding")
    weights = rng.integers(0, 4, (split.count, 5)).astype(np.float32)
    for version, table in split.tables.items():
        score, found = table["score"].to_numpy(), split.values(version, weights)
        for name, ill in split.findings.items():
            high, low = score[ill, None], score[split.healthy]
            right = (high > low) + 0.5 * (high == low)
            above, below = weights[ill].astype(float), weights[split.healthy].astype(float)
            expected = ((right @ below) * above).sum(axis=0) / (
                above.sum(axis=0) * below.sum(axis=0)
            )
            np.testing.assert_allclose(found["auroc", name], expected, atol=1e-12)
    nothing = split.values(version, np.zeros((split.count, 1), np.float32))
    assert np.isnan(nothing["auroc", MACRO]).all()


def test_an_auroc_of_many_images_needs_no_table_of_pairs():
    """Of 16,000 healthy images and as many others a table of pairs takes 2 GB."""
    rng, count = np.random.default_rng(0), 16_000
    numbers = np.arange(2 * count)
    table = pd.DataFrame(
        {"image_id": numbers.astype(str), "patient_id": numbers.astype(str), "split": "test"}
        | {"class_name": np.where(numbers % 2, "Mass", "No Finding"), "method": "autoencoder"}
        | {"level": 0.0, "score": rng.normal(50, 10, 2 * count) + 5 * (numbers % 2)}
        | dict.fromkeys(("region", "pixel_auroc", "average_precision", "hit", "dice"), np.nan)
    )
    tracemalloc.start()
    split = Split(table, "test", ["Mass"], "No Finding")
    found = split.values(("autoencoder", 0.0), np.ones((2 * count, 1), np.float32))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found["auroc", "Mass"] == pytest.approx(roc_auc_score(numbers % 2, table["score"]))
    assert peak < 100e6


# -- the figures


def words(figure) -> list[str]:
    """Everything that is written in a figure."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.fixture(scope="module")
def summary() -> pd.DataFrame:
    return summarise(scores(2.0), CLASSES, "No Finding", 100, 1)


def test_the_sweep_has_a_panel_for_each_finding_and_fills_the_chosen_level(summary):
    figure = draw_sweep(summary, phantom=True)
    said = words(figure)
    assert {"Mean of findings", "Effusion", "Mass", "AUROC", PHANTOM} <= set(said)
    assert "No Finding" not in said
    marks = {
        (line.get_xdata()[0], line.get_markerfacecolor())
        for line in figure.axes[0].lines
        if line.get_marker() == "o" and len(line.get_xdata()) == 1
    }
    assert marks == {(0.5, "white"), (1.0, COLOURS["gaussian"])}
    assert PHANTOM not in words(draw_sweep(summary, phantom=False))


def test_findings_have_a_panel_for_each_measure_that_there_is(summary):
    titles = {axes.get_title(loc="left") for axes in draw_findings(summary, False).axes}
    assert titles - {""} == set(MEASURES.values())
    without = summary[summary["measure"] == "auroc"]
    titles = {axes.get_title(loc="left") for axes in draw_findings(without, False).axes}
    assert titles - {""} == {MEASURES["auroc"]}


def test_the_film_in_the_middle_is_shown_neither_the_best_nor_the_worst(summary):
    given = scores(2.0)
    own = given[(given["split"] == "test") & (given["level"] == 1)]
    for image, name in zip(typical(given, summary, CLASSES), CLASSES, strict=True):
        ranked = own[own["class_name"] == name].sort_values("score")["image_id"].tolist()
        assert ranked.index(image) in (29, 30)


def test_examples_show_each_film_its_healthy_versions_and_its_region():
    region = np.zeros((SIZE, SIZE), bool)
    region[4:9, 4:9] = True
    film = np.full((SIZE, SIZE), 90, np.uint8)
    ways = [
        Healed("gaussian", 1.0, film, region * 40.0),
        Healed("autoencoder", 0.0, film, region * 20.0),
    ]
    rows = [Example("No Finding", film, ways, None), Example("Effusion", film, ways, region)]
    figure = draw_examples(rows, phantom=True)
    said = words(figure)
    assert {"No Finding", "Effusion", "image", "Gaussian, σ/α 1", "autoencoder", PHANTOM} <= set(
        said
    )
    grid = np.array(figure.axes[:10]).reshape(2, 5)
    outlined = [[bool(cell.findobj(QuadContourSet)) for cell in row] for row in grid]
    assert outlined == [[False] * 5, [True, False, True, False, True]]
    assert {image.get_clim()[1] for cell in grid[:, 2::2].flat for image in cell.images} == {40}
