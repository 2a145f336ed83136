"""Which images of the cohort have pixels, and what has no match."""

import pandas as pd
import pytest

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import (
    IMAGES,
    LABELS,
    METADATA,
    REJECTS,
    SHARD_INDEX,
    SPLITS,
    UNMATCHED,
)
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.tensors.select_images import select_images

CLASSES = ["No Finding", "Effusion"]
# Two images of each class in each split.
COHORT = [
    (f"{split}_{name[0]}_{n}.png", class_id, name, split)
    for split in SPLITS
    for class_id, name in enumerate(CLASSES)
    for n in range(2)
]
IDS = [row[0] for row in COHORT]


class Case:
    """A cohort of twelve images; tests say what the table and the archives hold."""

    def __init__(self, folder):
        self.folder = folder
        self.listed = [*IDS, "other.png"]
        self.archives = {"a": [*IDS[:6], "other.png"], "b": IDS[6:]}
        self.rejects = {}
        self.several = []  # images with both findings

    def run(self, max_missing=0, max_rejects=9):
        person = {"patient_id": "p", "age_years": 50.0, "sex": "F", "view": "PA"}
        cohort = pd.DataFrame(COHORT, columns=["image_id", "class_id", "class_name", "split"])
        paths = {name: self.folder / f"{name}.parquet" for name in ("metadata", "labels")}
        cohort["findings"] = cohort["class_name"]
        cohort.loc[cohort["image_id"].isin(self.several), "findings"] = "|".join(CLASSES)
        write_table(cohort.assign(**person), paths["metadata"], METADATA)
        table = pd.DataFrame({"image_id": self.listed}).assign(**person)
        write_table(table, paths["labels"], LABELS)
        indices, rejects = [], []
        for archive, names in self.archives.items():
            index = pd.DataFrame({"image_id": names, "shard": archive, "row": range(len(names))})
            index = index.assign(sha256="0", width=1024, height=1024, mode="L")
            indices.append(self.folder / f"{archive}.parquet")
            write_table(index, indices[-1], SHARD_INDEX)
            refused = self.rejects.get(archive, {})
            rows = [(archive, f"images/{name}", name, why) for name, why in refused.items()]
            frame = pd.DataFrame(rows, columns=list(REJECTS.columns), dtype=str)
            rejects.append(self.folder / f"{archive}.rejects.parquet")
            write_table(frame, rejects[-1], REJECTS)
        outputs = [self.folder / "images.parquet", self.folder / "unmatched.parquet"]
        limits = (max_missing, max_rejects)
        select_images(*paths.values(), indices, rejects, CLASSES, *limits, *outputs)
        return read_table(outputs[0], IMAGES), read_table(outputs[1], UNMATCHED)


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


def test_every_image_gets_its_place_sorted_by_id(case):
    case.archives["b"].reverse()
    images, unmatched = case.run()
    assert images["image_id"].tolist() == sorted(IDS)
    place = images.set_index("image_id")
    for shard, names in case.archives.items():
        for row, name in enumerate(names):
            if name != "other.png":
                assert place.loc[name, ["shard", "row"]].tolist() == [shard, row]
    assert unmatched.empty


def test_what_stands_alone_is_listed_with_its_reason(case):
    case.listed = [*IDS, "absent.png"]
    case.archives["a"].remove(IDS[0])
    case.rejects["a"] = {IDS[0]: "damaged PNG"}
    images, unmatched = case.run(max_missing=1)
    assert len(images) == 11 and IDS[0] not in set(images["image_id"])
    assert sorted(unmatched.itertuples(index=False, name=None)) == sorted(
        [
            ("absent.png", "table", "in the table, in no archive"),
            (IDS[0], "table", "damaged PNG"),
            ("other.png", "a", "in an archive, not in the table"),
        ]
    )


def test_too_many_missing_images_are_named_with_their_reason(case):
    for name in (IDS[0], IDS[2]):
        case.archives["a"].remove(name)
    case.rejects["a"] = {IDS[0]: "damaged PNG"}
    with pytest.raises(InputError) as caught:
        case.run(max_missing=1)
    text = str(caught.value)
    assert "2 of the cohort's 12 images" in text and "max_missing allows 1" in text
    assert f"{IDS[0]}: damaged PNG" in text and f"{IDS[2]}: in the table" in text
    assert not (case.folder / "images.parquet").exists()
    images, _ = case.run(max_missing=None)
    assert len(images) == 10


def test_an_archive_that_was_decoded_under_a_higher_limit_is_refused(case):
    case.rejects["b"] = {"x.png": "damaged PNG", "y.png": "no image"}
    with pytest.raises(InputError, match=r"b: 2 files cannot be used.* allows 1:") as caught:
        case.run(max_rejects=1)
    assert "images/x.png: damaged PNG" in str(caught.value)
    assert not (case.folder / "images.parquet").exists()
    case.run(max_rejects=2)


def test_images_outside_the_cohort_do_not_count_as_missing(case):
    case.archives["a"].remove("other.png")
    images, unmatched = case.run(max_missing=0)
    assert len(images) == 12 and unmatched["image_id"].tolist() == ["other.png"]


def test_a_class_without_an_image_in_a_split_is_named(case):
    gone = {name for name in IDS if name.startswith("val_E")}
    case.archives = {
        key: [n for n in names if n not in gone] for key, names in case.archives.items()
    }
    with pytest.raises(InputError, match="Effusion has none in val") as caught:
        case.run(max_missing=None)
    assert "No Finding" not in str(caught.value)


def test_an_image_with_several_findings_does_not_stand_for_its_class(case):
    case.several = IDS[2:3]  # No Finding has another in training, Effusion has not
    images, _ = case.run()
    assert images["findings"].str.contains("|", regex=False).sum() == 1
    case.several = IDS[2:4]
    with pytest.raises(InputError, match=r"split: Effusion has none in train\."):
        case.run()


def test_an_image_in_two_archives_is_named_with_both(case):
    case.archives["b"].append(IDS[3])
    with pytest.raises(InputError, match=f"{IDS[3]} in a and b"):
        case.run(max_missing=None)
