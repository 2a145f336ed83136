"""The phantom: what the truth table says is what the films show."""

import io
import tarfile
from dataclasses import MISSING, fields, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import PHANTOM_TRUTH
from workflow_scripts.common.tables import read_table
from workflow_scripts.phantom.chest import APEX, build
from workflow_scripts.phantom.describe_phantom import describe_phantom
from workflow_scripts.phantom.draw_phantom import draw_phantom
from workflow_scripts.phantom.population import FILM_CM, HEADER, MIX, Film, describe, label_table
from workflow_scripts.phantom.radiograph import draw, png_of

SIZE = 128
PIXEL = FILM_CM / SIZE


@pytest.fixture(scope="module")
def truth() -> pd.DataFrame:
    return describe(patients=300, archives=3, seed=14)


def films(truth: pd.DataFrame, finding: str | None = None, count: int = 12) -> list[Film]:
    """Some films, of different patients, that show one finding alone."""
    rows = truth if finding is None else truth[truth["findings"] == finding]
    rows = rows.drop_duplicates("patient_id").head(count)
    return [Film(**row) for row in rows.to_dict("records")]


def healthy(film: Film) -> Film:
    """The same chest on the same day without its findings."""
    signs = {field.name: field.default for field in fields(Film) if field.default is not MISSING}
    return replace(film, **signs)


def span(mask: np.ndarray, axis: int) -> float:
    """Length in cm of the extent of a mask along an axis."""
    hit = np.flatnonzero(mask.any(axis=1 - axis))
    return (hit[-1] - hit[0] + 1) * PIXEL


# -- the tables


def test_truth_fits_its_schema_which_names_every_parameter(truth):
    PHANTOM_TRUTH.validate(truth)
    assert sorted(PHANTOM_TRUTH.columns) == sorted(field.name for field in fields(Film))


def test_label_table_is_laid_out_as_the_nih_distribution(truth):
    text = label_table(truth, SIZE)
    header, *rows = text.splitlines()
    assert header == HEADER
    assert len(rows) == len(truth)
    assert {row.count(",") for row in rows} == {10}
    table = pd.read_csv(io.StringIO(text))
    assert len(table.columns) == 11
    assert table["Image Index"].str.fullmatch(r"\d{8}_\d{3}\.png").all()
    assert table["Image Index"].is_unique
    number = table["Image Index"].str.split("_").str[0].astype(int)
    assert (number == table["Patient ID"]).all()
    assert set(table["Patient Gender"]) == {"M", "F"}
    assert set(table["View Position"]) == {"PA", "AP"}
    assert set("|".join(table["Finding Labels"]).split("|")) == set(MIX)


def test_label_table_has_the_flaws_of_a_real_one(truth):
    table = pd.read_csv(io.StringIO(label_table(truth, SIZE)))
    age = table["Patient Age"]
    assert 0 < (age > 120).sum() < 0.05 * len(table)
    assert 0 < (age == 0).sum() < 0.05 * len(table)
    assert 0.03 < table["Finding Labels"].str.contains("|", regex=False).mean() < 0.17


def test_classes_are_large_enough_to_test_on():
    truth = describe(patients=900, archives=2, seed=14)
    single = truth[~truth["findings"].str.contains("|", regex=False)]
    share = single["findings"].value_counts(normalize=True)
    assert share.idxmax() == "No Finding"
    six = ["Atelectasis", "Cardiomegaly", "Effusion", "Pneumonia", "Pneumothorax"]
    assert (share[six] > 0.11).all()


def test_patients_come_back_and_their_findings_last_or_change(truth):
    visits = truth.groupby("patient_id")
    assert 1.7 < visits.size().mean() < 2.4
    assert (truth["follow_up"] == visits.cumcount()).all()
    assert (visits["anatomy_seed"].nunique() == 1).all()
    again = truth["follow_up"] > 0
    same = truth["findings"] == visits["findings"].shift()
    assert 0.4 < same[again].mean() < 0.9


@given(
    patients=st.integers(1, 30),
    more=st.integers(0, 30),
    archives=st.integers(1, 4),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=20, deadline=None)
def test_films_do_not_depend_on_how_many_there_are(patients, more, archives, seed):
    archives = min(archives, patients)
    few = describe(patients, archives, seed)
    many = describe(patients + more, archives, seed)
    pd.testing.assert_frame_equal(few, many.head(len(few)))
    one = describe(patients, 1, seed)
    pd.testing.assert_frame_equal(few.drop(columns="archive"), one.drop(columns="archive"))


def test_another_seed_gives_other_patients():
    one, two = describe(5, 1, seed=1), describe(5, 1, seed=2)
    assert set(one["anatomy_seed"]).isdisjoint(two["anatomy_seed"])


def test_an_archive_without_patients_is_refused():
    with pytest.raises(InputError, match="3 archives of 2 patients"):
        describe(patients=2, archives=3, seed=0)


def test_parameters_respect_the_definitions_of_the_findings(truth):
    has = {name: truth["findings"].str.split("|").map(lambda f, n=name: n in f) for name in MIX}
    ratio, front = truth["cardiothoracic_ratio"], truth["view"] == "PA"
    assert (ratio[has["Cardiomegaly"]] > 0.55).all()
    assert (ratio[~has["Cardiomegaly"] & front] < 0.5).all()
    assert (ratio[~has["Cardiomegaly"]] < 0.53).all()  # the shadow is magnified in AP
    for finding, column in {
        "Effusion": "effusion_height",
        "Pneumothorax": "pneumothorax_width",
        "Atelectasis": "atelectasis_opacity",
        "Pneumonia": "consolidation_opacity",
        "Infiltration": "infiltration",
    }.items():
        assert ((truth[column] > 0) == has[finding]).all()
    nodule = truth["nodule_radius"]
    assert ((nodule > 0) == (has["Nodule"] | has["Mass"])).all()
    assert ((nodule > 1.5) == has["Mass"]).all()
    collapsed = truth[has["Atelectasis"]]
    assert (
        (collapsed["mediastinal_shift"] > 0) == collapsed["atelectasis_lobe"].str.startswith("left")
    ).all()


# -- the films


def test_the_heart_is_drawn_as_wide_as_the_ratio_says(truth):
    for film in films(truth, count=25):
        film = replace(film, lean=0.0)
        chest = build(film, SIZE)
        thorax = max(span(row[None] > 0.5, 1) for row in chest.lungs if (row > 0.5).any())
        assert thorax == pytest.approx(film.thorax_width, abs=2.5 * PIXEL)
        measured = span(chest.heart > 0.5, 1) / thorax
        assert measured == pytest.approx(film.cardiothoracic_ratio, abs=0.03)


def test_a_larger_ratio_whitens_the_film_where_the_heart_grew_and_not_beside_it(truth):
    for film in films(truth, "No Finding", 4):
        film = replace(film, cardiothoracic_ratio=0.42)
        large = replace(film, cardiothoracic_ratio=0.62)
        before, after = build(film, SIZE), build(large, SIZE)
        whiter = draw(large, SIZE).astype(int) - draw(film, SIZE)
        # Where lung was, not where the heart only covers other solid tissue.
        grown = (after.heart > 0.9) & (before.heart < 0.1) & (before.gas > 4)
        assert np.median(whiter[grown]) > 50
        assert (np.abs(whiter[after.heart == 0]) < 40).mean() > 0.99


def test_the_effusion_is_as_high_as_the_truth_says_and_on_its_side(truth):
    for film in films(truth, "Effusion"):
        chest = build(film, SIZE)
        columns = columns_of(film.effusion_side)
        fluid, lung = (mask[:, columns].max(axis=1) for mask in (chest.effusion, chest.lungs))
        top, bottom = np.flatnonzero(fluid > 0.5)[0], np.flatnonzero(lung > 0.5)[-1]
        apex = (APEX + film.offset_y) / PIXEL
        assert (bottom + 1 - top) / (bottom + 1 - apex) == pytest.approx(
            film.effusion_height, abs=0.05
        )
        brighter = draw(film, SIZE).astype(int) - draw(healthy(film), SIZE) > 40
        assert (
            brighter[:, columns].mean()
            > 10 * brighter[:, columns_of(film.effusion_side, -1)].mean()
        )


def test_a_pneumothorax_is_black_without_markings_and_as_wide_as_the_truth_says(truth):
    for film in films(truth, "Pneumothorax"):
        chest, well = build(film, SIZE), build(healthy(film), SIZE)
        gap = chest.pneumothorax > 0.99
        assert well.vessels[gap].max() > 0.05
        assert chest.vessels[gap].max() < 0.005
        columns = columns_of(film.pneumothorax_side)
        row = int((APEX + film.offset_y + 0.75 * film.lung_height) / PIXEL)
        lung = (chest.lungs[row, columns] > 0.5).sum()
        gap = (chest.pneumothorax[row, columns] > 0.5).sum()
        assert gap / lung == pytest.approx(film.pneumothorax_width, abs=0.1)
        shown = chest.pneumothorax > 0.99
        assert draw(film, SIZE)[shown].mean() < draw(healthy(film), SIZE)[shown].mean() - 5


def test_atelectasis_whitens_its_lobe_and_pulls_the_heart_towards_it(truth):
    for film in films(truth, "Atelectasis"):
        chest, well = build(film, SIZE), build(healthy(film), SIZE)
        columns = columns_of(film.atelectasis_lobe.split()[0])
        assert chest.gas[:, columns].sum() < 0.92 * well.gas[:, columns].sum()
        moved = centre(chest.heart) - centre(well.heart)
        assert moved == pytest.approx(film.mediastinal_shift, abs=0.1)
        lost = well.lungs[:, columns].sum() - chest.lungs[:, columns].sum()
        assert lost * PIXEL**2 > film.diaphragm_elevation  # the dome has risen


def test_pneumonia_is_densest_where_the_truth_says(truth):
    for film in films(truth, "Pneumonia"):
        well = healthy(film)
        lost = build(well, SIZE).gas - build(film, SIZE).gas
        assert lost.min() > -1e-4
        side = columns_of(film.consolidation_side)
        assert lost[:, side].sum() > 0.98 * lost.sum()
        y = (np.arange(SIZE) + 0.5) @ lost.sum(axis=1) / lost.sum() * PIXEL - film.offset_y
        assert (y - APEX) / film.lung_height == pytest.approx(film.consolidation_y, abs=0.2)


@pytest.mark.parametrize("size", [64, 192])
def test_a_film_is_a_white_mediastinum_between_dark_lungs_in_black_air(truth, size):
    for film in films(truth, "No Finding", 6):
        image, chest = draw(film, size), build(film, size)
        assert image.shape == (size, size)
        assert image.dtype == np.uint8
        air, lung = chest.body < 0.1, (chest.lungs > 0.99) & (chest.heart == 0)
        heart = chest.heart > 0.99
        assert np.median(image[air]) < np.median(image[lung]) + 20
        assert np.median(image[lung]) + 80 < np.median(image[heart])


def test_films_of_a_patient_share_their_vessels(truth):
    film = films(truth, "No Finding", 1)[0]
    one, two = build(film, SIZE), build(replace(film, film_seed=film.film_seed + 1), SIZE)
    np.testing.assert_array_equal(one.vessels, two.vessels)
    assert (draw(film, SIZE) != draw(replace(film, film_seed=film.film_seed + 1), SIZE)).any()


def test_the_picture_is_the_same_at_every_size(truth):
    film = replace(films(truth, "Pneumonia", 1)[0], photons=1e9)
    small, large = draw(film, 96).astype(float), draw(film, 192).astype(float)
    reduced = large.reshape(96, 2, 96, 2).mean(axis=(1, 3))
    assert np.abs(reduced - small).mean() < 4


# -- the files


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A small data set, written by the steps."""
    folder = tmp_path_factory.mktemp("phantom")
    settings = {"patients": 30, "archives": 2, "size": 64, "seed": 14}
    describe_phantom(folder / "table.csv", folder / "truth.parquet", settings)
    for name in ("images_001", "images_002"):
        draw_phantom(folder / "truth.parquet", folder / f"{name}.tar.gz", name, 64)
    return folder


def test_archives_hold_the_films_of_the_table(drawn):
    truth = read_table(drawn / "truth.parquet", PHANTOM_TRUTH)
    table = pd.read_csv(drawn / "table.csv")
    members = []
    for name in ("images_001", "images_002"):
        with tarfile.open(drawn / f"{name}.tar.gz") as tar:
            found = [member.name for member in tar]
        expected = truth.loc[truth["archive"] == name, "image_id"]
        assert found == [f"images/{image}" for image in expected]
        members += found
    assert sorted(members) == sorted("images/" + table["Image Index"])


def test_pngs_say_that_they_are_phantoms_and_a_few_are_rgba(drawn):
    truth = read_table(drawn / "truth.parquet", PHANTOM_TRUTH).set_index("image_id")
    modes = []
    for name in ("images_001", "images_002"):
        with tarfile.open(drawn / f"{name}.tar.gz") as tar:
            for member in tar:
                image = Image.open(tar.extractfile(member))
                assert image.size == (64, 64)
                assert "phantom" in image.text["Description"]
                assert image.mode == truth.loc[member.name.removeprefix("images/"), "mode"]
                modes.append(image.mode)
                if image.mode == "RGBA":
                    red, green, blue, alpha = np.moveaxis(np.asarray(image), -1, 0)
                    assert (red == green).all()
                    assert (red == blue).all()
                    assert (alpha == 255).all()
    assert 0 < modes.count("RGBA") < 0.1 * len(modes)


def test_the_same_seed_gives_the_same_bytes(drawn, tmp_path):
    settings = {"patients": 30, "archives": 2, "size": 64, "seed": 14}
    describe_phantom(tmp_path / "table.csv", tmp_path / "truth.parquet", settings)
    draw_phantom(tmp_path / "truth.parquet", tmp_path / "other.tar.gz", "images_002", 64)
    for here, there in {
        "table.csv": "table.csv",
        "truth.parquet": "truth.parquet",
        "other.tar.gz": "images_002.tar.gz",
    }.items():
        assert (tmp_path / here).read_bytes() == (drawn / there).read_bytes()


def test_png_is_lossless():
    image = np.arange(4096, dtype=np.uint16).astype(np.uint8).reshape(64, 64)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png_of(image, "L")))), image)


def columns_of(side: str, sign: int = 1) -> slice:
    """Columns of the picture on one side of the patient, whose right is the picture's left."""
    left = (side == "left") == (sign == 1)
    return slice(SIZE // 2, SIZE) if left else slice(0, SIZE // 2)


def centre(mask: np.ndarray) -> float:
    """Horizontal centre of mass in cm."""
    return (np.arange(mask.shape[1]) @ mask.sum(axis=0)) / mask.sum() * PIXEL
