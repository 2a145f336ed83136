"""Label tables as people have them, whole and broken."""

import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import LABEL_ISSUES, LABELS
from workflow_scripts.common.tables import read_table
from workflow_scripts.curate.ages import years
from workflow_scripts.curate.parse_labels import parse_labels

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)


def nih(image="1.png", findings="Mass", follow="0", patient="1", age="58", sex="M", view="PA"):
    return f"{image},{findings},{follow},{patient},{age},{sex},{view},2682,2749,0.143,0.143"


@pytest.fixture
def parse(tmp_path):
    """Parse lines of a table; return labels and issues."""

    def run(*lines, header=HEADER, name="table.csv", raw=None, **layout):
        table = tmp_path / name
        text = "\n".join([header, *lines]) + "\n"
        table.write_bytes(text.encode() if raw is None else raw)
        outputs = tmp_path / "labels.parquet", tmp_path / "issues.parquet"
        parse_labels(table, *outputs, **layout)
        return read_table(outputs[0], LABELS), read_table(outputs[1], LABEL_ISSUES)

    return run


FOLDER = {
    "columns": {"image_id": "image", "patient_id": "who", "findings": "label"}
    | dict.fromkeys(["age", "sex", "view"]),
    "aliases": {"NORMAL": "No Finding"},
    "classes": ["No Finding", "Tuberculosis"],
}


# -- ages ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [("58", 58), ("058Y", 58), ("011M", 11 / 12), ("004D", 4 / 365.25), ("003W", 21 / 365.25),
     ("120", 120), ("000Y", 0), (" 58y ", 58), ("58.5", 58.5)],
)  # fmt: skip
def test_ages(text, expected):
    assert years(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["414Y", "148Y", "121", "-3", "", "Y", "old", "58Q", "1e1", "٥٨"])
def test_impossible_ages(text):
    assert np.isnan(years(text))


@settings(deadline=None)
@given(st.text(max_size=12))
def test_any_text_is_an_age_or_none(text):
    age = years(text)
    assert np.isnan(age) or 0 <= age <= 120


# -- NIH's table -----------------------------------------------------------------------------------


def test_columns_of_the_nih_table(parse):
    labels, issues = parse(
        nih("2.png", "Pleural_Thickening|Effusion", "3", "0007", "058Y", "F", "AP"),
        nih("1.png", "No Finding"),
    )
    assert list(labels["image_id"]) == ["1.png", "2.png"]
    row = labels.iloc[1]
    assert (row.patient_id, row.age_years, row.sex, row["view"]) == ("0007", 58.0, "F", "AP")
    assert row.follow_up == 3
    flags = labels.select_dtypes("bool")
    assert flags.shape[1] == 15
    assert set(flags.columns[flags.iloc[1]]) == {"pleural_thickening", "effusion"}
    assert set(flags.columns[flags.iloc[0]]) == {"no_finding"}
    assert issues.empty


@pytest.mark.parametrize(
    ("header", "end"),
    [
        (HEADER, ""),
        (HEADER + ",", ","),  # the 2017 edition
        (HEADER.replace("OriginalImage[Width,Height]", '"OriginalImage[Width,Height]"')
         .replace("OriginalImagePixelSpacing[x,y]", '"OriginalImagePixelSpacing[x,y]"'), ""),
        ("\ufeff" + HEADER, ""),
    ],
    ids=["v2020", "2017", "quoted", "byte order mark"],
)  # fmt: skip
def test_headers_with_commas_in_brackets(parse, header, end):
    labels, _ = parse(nih("1.png", "Mass", patient="12") + end, header=header)
    assert labels.loc[0, "image_id"] == "1.png"
    assert labels.loc[0, "patient_id"] == "12"
    assert labels.loc[0, "age_years"] == 58


def test_compressed_table(parse):
    text = f"{HEADER}\n{nih()}\n".encode()
    labels, _ = parse(name="table.csv.gz", raw=gzip.compress(text))
    assert len(labels) == 1


def test_spaces_around_ids_make_no_other_patient_and_no_other_image(parse):
    labels, issues = parse(
        nih("1.png", patient="12"), nih(" 2.png", patient=" 12"), nih("3.png ", patient="12\t")
    )
    assert list(labels["image_id"]) == ["1.png", "2.png", "3.png"]
    assert set(labels["patient_id"]) == {"12"}
    assert issues.empty
    with pytest.raises(InputError, match=r"1 image more than once: 1\.png \(lines 2, 3\)"):
        parse(nih("1.png"), nih("1.png "))


def test_what_is_odd_is_recorded_and_the_run_goes_on(parse):
    labels, issues = parse(
        nih("1.png", age="414Y"),
        nih("2.png", sex="U"),
        nih("3.png", view="oblique"),
        nih("4.png", follow="x"),
        nih("5.png", ""),
        nih("6.png", "No Finding|Mass"),
    )
    assert labels.loc[0, ["age_years"]].isna().all()
    assert labels.loc[1, ["sex"]].isna().all()
    assert labels.loc[2, ["view"]].isna().all()
    found = [tuple(row) for row in issues[["image_id", "column", "value"]].to_numpy()]
    assert found == [
        ("1.png", "Patient Age", "414Y"),
        ("2.png", "Patient Gender", "U"),
        ("3.png", "View Position", "oblique"),
        ("4.png", "Follow-up #", "x"),
        ("5.png", "Finding Labels", ""),
        ("6.png", "Finding Labels", "No Finding|Mass"),
    ]
    assert issues["reason"].iloc[5] == "No Finding beside another finding"


@pytest.mark.parametrize(
    ("lines", "options", "expected"),
    [
        ([nih()], {"header": HEADER.replace("Patient ID", "Patient")}, r"table\.csv lacks the column Patient ID; its first line names Image Index"),
        ([nih(), nih("2.png"), nih()], {}, r"1 image more than once: 1\.png \(lines 2, 4\)"),
        ([nih(), nih("2.png", "Efusion")], {}, r"efusion: line 3 \(2\.png\); did you mean Effusion\?"),
        ([nih(), nih("2.png", patient="")], {}, r"names no patient \(column Patient ID\) on line 3"),
        ([nih(), nih("")], {}, r"names no image \(column Image Index\) on line 3"),
        ([nih(), "2.png,Ma"], {}, r"names no patient \(column Patient ID\) on line 3"),
        ([nih(), nih() + ",1,2"], {}, r"cannot be read as a table: .*line 3"),
        ([], {}, r"no row below its first line"),
        ([], {"raw": b""}, r"lacks the columns Image Index.* names nothing"),
        ([], {"raw": b"\x89PNG\r\n\x1a\n\x00\x00"}, r"cannot be read as a table: .*Give a CSV"),
        ([], {"raw": b"<html>not found</html>"}, r"lacks the columns Image Index"),
        ([], {"raw": b"a" * 90, "name": "table.csv.gz"}, r"table\.csv\.gz cannot be read as a table"),
        ([], {"raw": gzip.compress(HEADER.encode() * 9)[:50], "name": "t.csv.gz"}, r"t\.csv\.gz cannot be read"),
        ([nih()], {"header": HEADER.replace("Patient Age", "Patient ID")}, r"more than one column Patient ID"),
    ],
)  # fmt: skip
def test_bad_tables_are_refused_with_the_place(parse, tmp_path, lines, options, expected):
    with pytest.raises(InputError, match=expected):
        parse(*lines, **options)
    assert not (tmp_path / "labels.parquet").exists()


def test_first_few_of_many_are_named(parse):
    lines = [nih(f"{number}.png", "Efusion") for number in range(9)]
    with pytest.raises(InputError, match=r"line 2 \(0\.png\), .* and 6 more"):
        parse(*lines)


# -- tables of folders -----------------------------------------------------------------------------


def test_table_of_a_folder(parse):
    labels, issues = parse(
        "b/1.png,007,NORMAL", "a/2.png,NA,normal", "c.png,8,Tuberculosis|Old TB",
        header="image,who,label", **FOLDER,
    )  # fmt: skip
    assert list(labels["image_id"]) == ["a/2.png", "b/1.png", "c.png"]
    assert list(labels["patient_id"]) == ["NA", "007", "8"]
    assert list(labels.select_dtypes("bool")) == ["no_finding", "tuberculosis", "old_tb"]
    assert list(labels["no_finding"]) == [True, True, False]
    assert labels[["age_years", "sex", "view"]].isna().all(axis=None)
    assert issues.empty


def test_ages_sexes_and_views_of_a_folder(parse):
    columns = FOLDER["columns"] | {"age": "years", "sex": "gender", "view": "projection"}
    labels, issues = parse(
        "1.png,1,normal,7,female,pa", "2.png,2,normal,,m,LATERAL",
        header="image,who,label,years,gender,projection", **(FOLDER | {"columns": columns}),
    )  # fmt: skip
    assert list(labels["sex"]) == ["F", "M"]
    assert list(labels["view"]) == ["PA", "LATERAL"]
    assert list(issues["column"]) == ["years"]


def test_a_finding_that_cannot_be_a_column(parse):
    with pytest.raises(InputError, match=r"'split'.*aliases"):
        parse("1.png,1,Split", header="image,who,label", **FOLDER)


def test_real_tables(shared, tmp_path):
    layout = {
        "columns": FOLDER["columns"] | {"who": None, "patient_id": "patient_id"},
        "aliases": {"NORMAL": "No Finding"},
        "classes": ["No Finding", "Pneumonia"],
    }
    layout["columns"].pop("who")
    outputs = tmp_path / "labels.parquet", tmp_path / "issues.parquet"
    parse_labels(shared / "paediatric-pneumonia" / "labels.csv", *outputs, **layout)
    labels = pd.read_parquet(outputs[0])
    assert len(labels) == 4729
    assert labels["patient_id"].nunique() == 2490
    assert labels["pneumonia"].sum() == 3462
    assert labels["no_finding"].sum() == 1267
