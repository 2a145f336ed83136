"""The list of an arm's images on disk, and how many were left out of it."""

import json

import pytest

from tests.unit.test_arms import CLASSES, REAL, audit, drawn_images, images_of
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import ARM_IMAGES, COPIES, IMAGES, SAMPLES
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.study.compose_arm import compose_arm


def composed(folder, arm, images=None, samples=None, copies=None, patients=1.0):
    """Write an arm into `folder`; return its images and what was left out."""
    write_table(images_of() if images is None else images, folder / "images.parquet", IMAGES)
    paths = {"samples": None, "copies": None}
    for name, frame, schema in (("samples", samples, SAMPLES), ("copies", copies, COPIES)):
        if frame is not None:
            paths[name] = folder / f"{name}.parquet"
            write_table(frame, paths[name], schema)
    compose_arm(
        folder / "images.parquet",
        paths["samples"],
        paths["copies"],
        folder / "arm.parquet",
        folder / "arm.json",
        study="s",
        arm="a",
        settings=REAL | arm,
        classes=CLASSES,
        patients=patients,
        seed=0,
    )
    facts = json.loads((folder / "arm.json").read_text())
    return read_table(folder / "arm.parquet", ARM_IMAGES), facts


@pytest.mark.parametrize("real", [True, False])
def test_an_arm_of_synthetic_images_is_the_same_bytes_twice(tmp_path, real):
    arm = {"real": real, "synthetic": 1}
    training, facts = composed(tmp_path, arm, samples=drawn_images())
    first = (tmp_path / "arm.parquet").read_bytes()
    composed(tmp_path, arm, samples=drawn_images().iloc[::-1])
    assert (tmp_path / "arm.parquet").read_bytes() == first
    assert (~training["synthetic"]).sum() == (15 if real else 0)
    assert facts == {
        "without_copies": False,
        "synthetic": dict.fromkeys(CLASSES, 5),
        "removed": {},
    }


def test_the_real_arm_reads_no_samples(tmp_path):
    training, facts = composed(tmp_path, {})
    assert len(training) == 15
    assert facts["synthetic"] == dict.fromkeys(CLASSES, 0)
    training, _ = composed(tmp_path, {}, patients=0.5)
    assert training["class_id"].value_counts().sort_index().tolist() == [5, 2, 1]


def test_what_the_audit_found_is_left_out_and_reported(tmp_path):
    samples = drawn_images()
    copies = audit(samples, {("model/sampler/effusion/000001", "domain")})
    training, facts = composed(tmp_path, {"synthetic": 0.5}, samples=samples, copies=copies)
    effusions = training.loc[training["synthetic"] & (training["class_id"] == 1), "image_id"]
    assert [name[-1] for name in effusions] == ["0", "2", "3"]
    assert facts["without_copies"]
    assert facts["removed"]["Effusion"] == {"images": 1, "unaudited": 0, "domain": 1}


def test_an_archive_named_like_a_shard_of_samples_is_refused(tmp_path):
    with pytest.raises(InputError, match="one name: archive"):
        composed(tmp_path, {"synthetic": 1}, samples=drawn_images().assign(shard="archive"))
