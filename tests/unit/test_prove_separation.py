"""The proof that nothing behind an arm saw a held-out patient: what it says, and what it finds."""

import json

import pandas as pd
import pytest

from tests.several import with_several
from tests.unit.small_training import write_images
from tests.unit.test_arms import CLASSES, REAL, drawn_images, images_of
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import sha256_of
from workflow_scripts.common.schemas import ARM_IMAGES, IMAGES, SAMPLES, SEEN
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.study.arms import compose, real_images
from workflow_scripts.study.prove_separation import held_out, prove_separation, strangers
from workflow_scripts.training.train_diffusion import write_seen

ROLES = ("generator", "guide", "classifier")


def files(folder, images=None, plant=lambda tables: None, synthetic=0.5):
    """Write all that a proof rests on, with what `plant` changes in the tables, and the arm."""
    images = with_several(images_of()) if images is None else images
    samples = drawn_images()
    arm = REAL | {"synthetic": synthetic}
    training = compose(real_images(images, 1.0, 0), samples, arm, CLASSES, "a")
    seen = images.loc[images["split"] == "train", ["image_id", "patient_id"]]
    tables = {"images": images, "samples": samples, "arm": training}
    tables |= {role: seen.reset_index(drop=True) for role in ROLES}
    plant(tables)
    schemas = {"images": IMAGES, "samples": SAMPLES, "arm": ARM_IMAGES}
    for name, table in tables.items():
        if name == "arm":  # an edited file, which nothing checked when it was written
            table.to_parquet(folder / f"{name}.parquet", index=False)
        else:
            write_table(table, folder / f"{name}.parquet", schemas.get(name, SEEN))
    for number in (*range(len(CLASSES)), "never_taken"):
        (folder / f"{number}_000.npy").write_bytes(b"pixels")


def proved(folder, roles=ROLES, source="model/sampler", patients=1.0, spaces=()):
    """Prove, and return what was written."""
    prove_separation(
        folder / "images.parquet",
        folder / "arm.parquet",
        folder / "samples.parquet" if source else None,
        sorted(folder.glob("*_000.npy")) if source else [],
        {role: folder / f"{role}.parquet" for role in roles},
        folder / "proof.json",
        study="s",
        arm="a",
        source=source,
        patients=patients,
        spaces=list(spaces),
    )
    return json.loads((folder / "proof.json").read_text())


def test_the_proof_counts_and_names_the_files_it_rests_on(tmp_path):
    files(tmp_path)
    proof = proved(tmp_path)
    assert proof["held_out"] == {
        "val": {"images": 9, "patients": 6},
        "test": {"images": 9, "patients": 6},
    }
    assert proof["sha256"] == {
        str(tmp_path / name): sha256_of(tmp_path / name)
        for name in [
            *(f"{name}.parquet" for name in ("images", "samples", "arm", *ROLES)),
            *(f"{number}_000.npy" for number in range(len(CLASSES))),
        ]
    }
    counted = [statement["counts"]["images"] for statement in proof["statements"]]
    # Of the arm: 15 real ones, twice, all 24, the 9 synthetic ones; then what three trainings saw.
    assert counted == [15, 15, 24, 9, 23, 23, 23]
    assert all(set(one["rests_on"]) <= set(proof["sha256"]) for one in proof["statements"])
    assert any("choose_average" in limit for limit in proof["limits"])
    first = (tmp_path / "proof.json").read_bytes()
    proved(tmp_path)
    assert (tmp_path / "proof.json").read_bytes() == first


def test_an_arm_of_real_images_needs_no_generator(tmp_path):
    files(tmp_path, synthetic=0)
    proof = proved(tmp_path, roles=["classifier"], source=None)
    assert not any("generator" in limit or "audit" in limit for limit in proof["limits"])
    assert "No image of the arm is synthetic" in [one["statement"] for one in proof["statements"]]


def test_what_the_proof_does_not_say_is_said(tmp_path):
    files(tmp_path)
    limits = " ".join(proved(tmp_path, patients=0.1, spaces=["pixels", "domain", "xrv"])["limits"])
    for words in (
        "share of 0.1",
        "audit_copies",
        "weights of xrv,",
        "under two ids",
        "names alone",
        "People chose",
        "pixels of the real images",
    ):
        assert words in limits


def add(name, image_id, patient_id):
    """Plant an image in a record of a training."""

    def plant(tables):
        row = pd.DataFrame([{"image_id": image_id, "patient_id": patient_id}])
        tables[name] = pd.concat([tables[name], row], ignore_index=True)

    return plant


def into_arm(**values):
    """Plant an image in the arm: its first one with other values."""

    def plant(tables):
        row = tables["arm"].iloc[[0]].assign(**values)
        tables["arm"] = pd.concat([tables["arm"], row], ignore_index=True)

    return plant


def replaced(column, value, place=0):
    """Plant another value in a row of the arm."""

    def plant(tables):
        tables["arm"].loc[tables["arm"].index[place], column] = value

    return plant


def leaked(split):
    """Give an image of another split a patient of the training split."""

    def plant(tables):
        images = tables["images"].copy()
        images.loc[images["split"] == split, "patient_id"] = "p0003"
        tables["images"] = images

    return plant


BREACHES = {
    **{
        f"test image in {role}": (add(role, "real0021.png", "p0021"), r"real0021\.png")
        for role in ROLES
    },
    **{
        f"validation image in {role}": (add(role, "real0015.png", "p0015"), r"real0015\.png")
        for role in ROLES
    },
    "test patient under another image": (add("generator", "new.png", "p0021"), r"new\.png"),
    "test image under another patient": (add("classifier", "real0021.png", "p0"), "real0021"),
    "image that nobody knows": (add("guide", "unknown.png", "p9"), r"unknown\.png"),
    "test image in the arm": (
        into_arm(image_id="real0021.png", patient_id="p0021", row=21),
        r"real0021\.png",
    ),
    "pixels of a test image under a training image's id": (replaced("row", 21), r"real0000\.png"),
    "another class": (replaced("class_id", 1), r"real0000\.png"),
    "image of several findings": (into_arm(image_id="real0000.pngx"), r"real0000\.pngx"),
    "image twice": (into_arm(), r"real0000\.png"),
    "pixels of a synthetic image twice": (replaced("row", 1, place=15), "effusion/000001"),
    "synthetic image of another generator": (
        into_arm(image_id="other/sampler/effusion/000000", patient_id=None, synthetic=True),
        "other/sampler/effusion/000000",
    ),
    "synthetic image of another class": (replaced("class_name", "Effusion", -1), "pneumonia"),
    "patient of the validation split": (leaked("val"), r"real0003\.png"),
    "patient of the test split": (leaked("test"), r"real0003\.png"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_planted_breach_is_found_and_its_images_are_named(tmp_path, breach):
    plant, named = BREACHES[breach]
    files(tmp_path, plant=plant)
    with pytest.raises(InputError, match=rf"(?s){named}"):
        proved(tmp_path)
    assert not (tmp_path / "proof.json").exists()


def test_images_of_a_sampler_whose_name_begins_alike_are_foreign(tmp_path):
    def plant(tables):
        for name in ("samples", "arm"):
            ids = tables[name]["image_id"]
            tables[name] = tables[name].assign(
                image_id=ids.str.replace("model/sampler/", "model/sampler2/", regex=False)
            )

    files(tmp_path, plant=plant)
    with pytest.raises(InputError, match="model/sampler2/"):
        proved(tmp_path)


def test_a_synthetic_image_in_an_arm_of_real_ones_is_found(tmp_path):
    files(tmp_path)
    with pytest.raises(InputError, match="No image of the arm is synthetic"):
        proved(tmp_path, roles=["classifier"], source=None)


def test_held_out_patients_are_found_by_image_and_by_record():
    images = images_of()
    seen = images[["image_id", "patient_id"]]
    expected = sorted(images.loc[images["split"] != "train", "image_id"])
    assert held_out(seen, images) == expected
    assert held_out(seen.assign(patient_id="p0"), images) == expected
    assert held_out(seen.assign(image_id=seen["image_id"].iloc[0]), images) != []
    train = images[images["split"] == "train"]
    assert held_out(train, images) == []
    assert strangers(train, images, ["image_id", "row"]) == []
    assert strangers(train, images[1:], ["image_id", "row"]) == ["real0000.png"]


def test_a_generator_records_the_training_split_it_learns_from(tmp_path):
    images, shards = write_images(tmp_path)
    write_seen(images, shards, tmp_path / "seen.parquet")
    seen, table = read_table(tmp_path / "seen.parquet", SEEN), read_table(images, IMAGES)
    assert list(seen["image_id"]) == list(table.loc[table["split"] == "train", "image_id"])
    assert held_out(seen, table) == []
