"""What an audit works out anew: hashes, N, measures, the raw table; each held against the steps."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

from tests.several import with_several
from tests.unit.test_arms import CLASSES, drawn_images, images_of
from workflow_scripts.audit.formats import SCHEMAS
from workflow_scripts.audit.raw_table import read_raw_table
from workflow_scripts.audit.results import measures
from workflow_scripts.audit.sizes import Sizes
from workflow_scripts.common import schemas
from workflow_scripts.common.errors import InputError
from workflow_scripts.curate.label_table import NIH_COLUMNS, read_label_table
from workflow_scripts.evaluate.sets import equal_subsets, members
from workflow_scripts.metrics.diversity import random_pairs
from workflow_scripts.study.measures import Measures, names
from workflow_scripts.trail.hashing import CHUNK, hash_files


def test_every_schema_is_that_of_some_table():
    declared = {id(one) for one in vars(schemas).values() if isinstance(one, pa.DataFrameSchema)}
    assert {id(schema) for schema in SCHEMAS.values()} == declared


@pytest.mark.parametrize("threads", [1, 3])
def test_files_and_the_images_in_them_are_hashed(tmp_path, threads):
    # One shard of more than a chunk, whose images do not divide it.
    shards = {"a": np.random.default_rng(0).integers(0, 256, (CHUNK // 900 + 2, 30, 30), np.uint8)}
    shards["b"] = shards["a"][:3].copy()
    shards["b"][1] = 7
    paths = {name: str(tmp_path / f"{name}.npy") for name in shards}
    for name, array in shards.items():
        np.save(paths[name], array)
    np.save(tmp_path / "features.npy", np.zeros((4, 2), dtype=np.float32))
    (tmp_path / "damaged.npy").write_bytes(b"no array")
    others = [str(tmp_path / name) for name in ("features.npy", "damaged.npy", "gone.npy")]
    found = hash_files([*paths.values(), *others], threads)
    assert set(found.files) == {*paths.values(), *others[:2]}
    for path, one in found.files.items():
        data = Path(path).read_bytes()
        assert (one.bytes, one.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    for name, array in shards.items():
        expected = [hashlib.sha256(image.tobytes()).digest() for image in array]
        assert found.files[paths[name]].images == expected
    assert found.files[paths["b"]].blank == {1} and not found.files[paths["a"]].blank
    assert found.files[others[0]].images is None and found.files[others[1]].images is None
    assert found.bytes == sum(one.bytes for one in found.files.values())


def sets_of(samples: int) -> tuple[pd.DataFrame, pd.DataFrame, dict]:
    """Return images, some of them with several findings, samples, and the sets to compare."""
    images = with_several(images_of())
    drawn = drawn_images().groupby("class_name").head(samples).reset_index(drop=True)
    return images, drawn, members(images, drawn, CLASSES)


@pytest.mark.parametrize("samples", [1, 2, 40])
def test_the_n_of_distances_is_what_the_steps_draw(samples):
    images, drawn, everything = sets_of(samples)
    sizes = Sizes(images, drawn, CLASSES)
    subsets = equal_subsets(everything, images["patient_id"], 0)["reference"]
    for name in CLASSES:
        n = len(subsets[name])
        assert sizes.expected("sharpness_ratio", name, [], 0)[:2] == (n, n)
    enough = sum(len(rows) for rows in subsets.values() if len(rows) > 1)
    assert sizes.expected("kernel_distance", "pooled", [], 0).n == enough


def test_the_n_of_diversity_is_no_more_than_there_are_pairs():
    images, drawn, everything = sets_of(40)
    sizes, owners = Sizes(images, drawn, CLASSES), images["patient_id"].to_numpy()
    for name in CLASSES:
        most = min(
            len(random_pairs(owners[rows[name]], 10_000, np.random.default_rng(0)))
            for part, rows in everything.items()
            if part != "synthetic"
        )
        drawn_pairs = (
            len(everything["synthetic"][name]) * (len(everything["synthetic"][name]) - 1) // 2
        )
        assert sizes.pairs(name) == min(most, drawn_pairs)
        allowed = sizes.expected("msssim_diversity", name, [], 3)
        assert allowed.allows(1, 1) and not allowed.allows(4, 4) and not allowed.allows(2, 1)


def test_a_measure_that_nobody_declared_has_no_n():
    images, drawn, _ = sets_of(40)
    sizes = Sizes(images, drawn, CLASSES)
    assert sizes.expected("new_measure", CLASSES[0], [], 0) is None
    assert sizes.expected("new_measure", "pooled", [CLASSES[0]], 0) is None


@pytest.mark.parametrize("digits", [1, 9])  # with ties and without
def test_measures_of_a_study_are_worked_out_as_its_summary_has_them(digits):
    rng = np.random.default_rng(digits)
    p = rng.dirichlet(np.ones(3), 60).round(digits)
    truth = rng.integers(0, 3, 60)
    frame = pd.DataFrame(p, columns=["p_0", "p_1", "p_2"]).assign(class_id=truth)
    found = dict(measures(frame, CLASSES))
    expected = dict(zip(names(CLASSES), Measures(p, truth)(np.ones((60, 1)))[:, 0], strict=True))
    assert found.keys() == expected.keys() - {("calibration_error", "macro")}
    for key, value in found.items():
        assert value == pytest.approx(expected[key], abs=1e-6), key


HEADS = {
    "unquoted": "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]",
    "quoted": '"OriginalImage[Width,Height]","OriginalImagePixelSpacing[x,y]"',
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("packed", [False, True])
def test_the_raw_table_is_read_as_the_parser_reads_it(tmp_path, head, packed):
    columns = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    )
    lines = [f"{columns},{HEADS[head]}", "a.png, Mass|Edema ,0, 7 ,50,M,PA,9,9,1,1", ",,,,,,,,,,"]
    text = "\ufeff" + "\n".join([*lines, "b.png,No Finding,1,007,50,F,AP,9,9,1,1"]) + "\n"
    path = tmp_path / ("table.csv.gz" if packed else "table.csv")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    found, expected = read_raw_table(path, {}), read_label_table(path, NIH_COLUMNS)
    assert found["patient_id"].tolist() == ["7", "007"]
    for column in found:
        assert found[column].tolist() == expected[column].tolist()


def test_a_table_of_ones_own_is_read_by_its_columns(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("who,[x,file,what\n1,2,a.png,Mass\n")
    config = {"columns": {"image_id": "file", "patient_id": "who", "findings": "what", "age": None}}
    (row,) = read_raw_table(path, config).itertuples(index=False, name=None)
    assert row == ("a.png", "1", "Mass")
    with pytest.raises(InputError, match=r"^mine\.csv cannot be read as the label table"):
        read_raw_table(path, {})
