"""Where findings are: drawn with the phantom's films, and NIH's boxes in reduced images."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.acquire.extract_boxes import extract_boxes
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import PHANTOM_TRUTH, REGIONS, SHARD_INDEX
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.phantom.chest import Frame
from workflow_scripts.phantom.describe_phantom import describe_phantom
from workflow_scripts.phantom.draw_regions import draw_regions, region_of
from workflow_scripts.phantom.population import FILM_CM, Film, describe, without_findings
from workflow_scripts.tensors.boxes import box_in_film, box_in_store, box_mask, read_boxes
from workflow_scripts.tensors.draw_boxes import draw_boxes
from workflow_scripts.tensors.reduction import reduce

SIZE, SEED = 96, 14
PHANTOM = {"patients": 40, "archives": 2, "size": 96, "seed": SEED}


@pytest.fixture(scope="module")
def truth() -> pd.DataFrame:
    return describe(patients=150, archives=1, seed=SEED)


def films(truth: pd.DataFrame, finding: str, count: int = 6) -> list[Film]:
    rows = truth[truth["findings"] == finding].drop_duplicates("patient_id").head(count)
    return [Film(**row) for row in rows.to_dict("records")]


def on_side(mask: np.ndarray, side: str) -> np.ndarray:
    """The half of the picture on a side of the patient, whose left is the picture's right."""
    half = mask.shape[1] // 2
    return mask[:, half:] if side == "left" else mask[:, :half]


# -- the phantom


def test_the_twin_of_a_film_is_the_film_but_for_its_findings(truth):
    (well, *_), (ill, *_) = films(truth, "No Finding"), films(truth, "Effusion")
    assert without_findings(well, SEED) == well
    twin = without_findings(ill, SEED)
    assert twin.findings == "No Finding"
    assert twin == replace(ill, findings="No Finding", effusion_side="none", effusion_height=0.0)
    (large, *_) = films(truth, "Cardiomegaly")
    assert without_findings(large, SEED).cardiothoracic_ratio < large.cardiothoracic_ratio - 0.08


def test_a_healthy_film_has_no_region(truth):
    for film in films(truth, "No Finding", 3):
        assert not region_of(film, SIZE, SEED).any()


@pytest.mark.parametrize(
    ("finding", "attribute"),
    [("Effusion", "effusion_side"), ("Pneumothorax", "pneumothorax_side"),
     ("Pneumonia", "consolidation_side"), ("Mass", "nodule_side")],
)  # fmt: skip
def test_the_region_is_on_the_finding_s_side(truth, finding, attribute):
    for film in films(truth, finding):
        mask, side = region_of(film, SIZE, SEED), getattr(film, attribute)
        other = "left" if side == "right" else "right"
        assert 0.002 < mask.mean() < 0.2
        assert on_side(mask, side).sum() > 20 * on_side(mask, other).sum()


def test_an_effusion_lies_low_in_the_chest(truth):
    for film in films(truth, "Effusion"):
        rows = np.flatnonzero(region_of(film, SIZE, SEED).any(axis=1)) * FILM_CM / SIZE
        assert rows.min() > film.offset_y + 5.5 + 0.4 * film.lung_height


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_planted_mass_is_where_it_was_planted_and_as_large(truth, side):
    for well in films(truth, "No Finding", 4):
        radius = 2.5
        planted = replace(well, nodule_side=side, nodule_x=0.5, nodule_y=0.5, nodule_radius=radius)
        mask = region_of(planted, SIZE, SEED)
        frame, pixel = Frame(planted, SIZE), FILM_CM / SIZE
        x, y = frame.place(side, 0.5, 0.5)
        away = np.hypot(frame.x - x, frame.y - y)[mask]
        assert away.max() < radius + pixel
        area = mask.sum() * pixel**2
        # Less where ribs or vessels stood before, and at its edge, where it is thin.
        assert 0.5 * np.pi * radius**2 < area < 1.1 * np.pi * radius**2


def test_the_step_writes_a_mask_for_each_film_with_a_finding(tmp_path):
    describe_phantom(tmp_path / "table.csv", tmp_path / "truth.parquet", PHANTOM)
    draw_regions(
        tmp_path / "truth.parquet",
        tmp_path / "b.npy",
        tmp_path / "b.parquet",
        "images_002",
        32,
        SEED,
    )
    truth = read_table(tmp_path / "truth.parquet", PHANTOM_TRUTH)
    ill = truth[(truth["archive"] == "images_002") & (truth["findings"] != "No Finding")]
    index, masks = read_table(tmp_path / "b.parquet", REGIONS), np.load(tmp_path / "b.npy")
    assert index["image_id"].tolist() == ill["image_id"].tolist()
    assert index["finding"].tolist() == ill["findings"].tolist()
    assert (index["shard"] == "b").all()
    assert masks.shape == (len(ill), 32, 32)
    assert masks.dtype == np.uint8
    assert set(np.unique(masks)) == {0, 1}
    assert index["pixels"].tolist() == masks.sum(axis=(1, 2)).tolist()
    film = Film(**ill.iloc[3].to_dict())
    np.testing.assert_array_equal(masks[3], region_of(film, 32, SEED))


# -- NIH's boxes


def test_boxes_come_out_of_the_package_with_names_of_the_label_table(tmp_path):
    extract_boxes(tmp_path / "boxes.csv")
    boxes = read_boxes(tmp_path / "boxes.csv")
    assert len(boxes) == 984
    assert boxes["image_id"].nunique() == 880
    assert set(boxes["finding"]) == {
        "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia",
        "Pneumothorax",
    }  # fmt: skip
    first = boxes.iloc[0]
    assert first["image_id"] == "00013118_008.png"
    assert first[["x", "y", "width", "height"]].tolist() == pytest.approx(
        [225.0847, 547.0192, 86.7797, 79.1864], abs=1e-3
    )
    assert (boxes["x"] + boxes["width"] <= 1024).all()
    assert (boxes["y"] + boxes["height"] <= 1024).all()


def test_what_is_no_table_of_boxes_is_refused(tmp_path):
    (tmp_path / "boxes.csv").write_text("a,b,c,d,e,f\n1,2,three,4,5,6\n")
    with pytest.raises(InputError, match=r"boxes\.csv is no table of boxes"):
        read_boxes(tmp_path / "boxes.csv")


@pytest.mark.parametrize(
    ("box", "film", "size", "rows", "columns"),
    [
        # 1024 to 64: a pixel is 16 by 16.
        ((256, 512, 128, 64), (1024, 1024), 64, (32, 36), (16, 24)),
        # Half a pixel is covered at both ends, and counts; less does not.
        ((8, 9, 16, 16), (1024, 1024), 64, (1, 2), (0, 2)),
        # A film of 200 by 100 stands 50 down in a square of 200, which is reduced by 2.
        ((20, 10, 40, 20), (200, 100), 100, (30, 40), (10, 30)),
        # And a tall one 50 across.
        ((10, 20, 20, 40), (100, 200), 100, (10, 30), (30, 40)),
        # 33 of 100 rows are missing: 33 // 2 = 16 above. Scale 1/2.
        ((0, 4, 100, 20), (100, 67), 50, (10, 20), (0, 50)),
        # Enlarged by 2.
        ((4, 8, 8, 4), (32, 32), 64, (16, 24), (8, 24)),
        # Thinner than a pixel, it covers that of its centre.
        ((100, 100, 4, 4), (1024, 1024), 64, (6, 7), (6, 7)),
        # Beyond the film there is nothing.
        ((1000, 0, 100, 1024), (1024, 1024), 64, (0, 64), (62, 64)),
    ],
)  # fmt: skip
def test_a_box_in_a_reduced_image_by_hand(box, film, size, rows, columns):
    found = box_in_store(box, *film, size)
    assert [(part.start, part.stop) for part in found] == [rows, columns]


@pytest.mark.parametrize(("width", "height"), [(256, 256), (192, 128), (120, 200)])
def test_a_box_lies_where_the_reduction_puts_what_is_in_it(width, height):
    """The film is black but for the box: what is bright once reduced is the mask."""
    x, y, across, down = 40, 32, 48, 64
    pixels = np.zeros((height, width), np.uint8)
    pixels[y : y + down, x : x + across] = 255
    mask = box_mask([(x, y, across, down)], width, height, 32)
    bright = reduce(pixels, 32) > 127
    assert (mask != bright).sum() <= 2 * (bright.any(axis=0).sum() + bright.any(axis=1).sum())
    inner = reduce(pixels, 32) == 255
    assert mask[inner].all()
    assert not mask[reduce(pixels, 32) == 0].any()


def test_boxes_are_those_of_the_original_whatever_copy_was_decoded():
    box = (256.0, 512.0, 128.0, 64.0)
    assert box_in_film(box, 1024, 1024) == box
    assert box_in_film(box, 256, 256) == (64.0, 128.0, 32.0, 16.0)
    for side in (1024, 256, 64):
        found = box_in_store(box_in_film(box, side, side), side, side, 32)
        assert [(part.start, part.stop) for part in found] == [(16, 18), (8, 12)]


def test_masks_of_boxes_stand_in_the_index_by_image_and_finding(tmp_path):
    lines = [
        "Image Index,Finding Label,Bbox [x,y,w,h],,,",
        "b.png,Infiltrate,0,0,512,512,,,",
        "a.png,Mass,512,512,512,512,,,",
        "a.png,Mass,0,512,512,512,,,",
        "a.png,Effusion,0,0,1024,256,,,",
        "elsewhere.png,Effusion,0,0,1024,256,,,",
    ]
    (tmp_path / "boxes.csv").write_text("\n".join(lines) + "\n")
    shard = pd.DataFrame(
        {
            "image_id": ["a.png", "b.png", "c.png"],
            "shard": "s",
            "row": [0, 1, 2],
            "sha256": "0",
            "width": [1024, 256, 1024],
            "height": [1024, 256, 1024],
            "mode": "L",
        }
    )
    write_table(shard, tmp_path / "s.parquet", SHARD_INDEX)
    draw_boxes(
        tmp_path / "boxes.csv",
        [tmp_path / "s.parquet"],
        tmp_path / "m.npy",
        tmp_path / "m.parquet",
        8,
    )
    index, masks = read_table(tmp_path / "m.parquet", REGIONS), np.load(tmp_path / "m.npy")
    named = list(zip(index["image_id"], index["finding"], index["pixels"], strict=True))
    assert named == [
        ("a.png", "Effusion", 16),
        ("a.png", "Mass", 32),
        ("b.png", "Infiltration", 16),
    ]
    assert masks[1][4:].all()
    assert not masks[1][:4].any()
    assert masks[2][:4, :4].all()


def test_real_boxes_on_real_films(shared, tmp_path):
    """Boxes of films that the mini copy of NIH holds at 256 or 64 pixels, as it says itself."""
    extract_boxes(tmp_path / "boxes.csv")
    labels = pd.read_csv(shared / "nih-mini" / "Data_Entry_2017_v2020.csv", index_col=False)
    boxes = read_boxes(tmp_path / "boxes.csv").merge(
        labels, left_on="image_id", right_on="Image Index"
    )
    assert len(boxes) == 36
    stated = [
        finding in findings.split("|")
        for finding, findings in zip(boxes["finding"], boxes["Finding Labels"], strict=True)
    ]
    assert np.mean(stated) > 0.8, "the label table was read from reports, the boxes drawn"
