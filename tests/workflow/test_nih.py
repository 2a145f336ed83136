"""Real NIH ChestX-ray14 radiographs, from archives to report."""

import json

import pandas as pd
import pytest


@pytest.fixture(scope="module")
def nih_run(snakemake, root, shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nih")
    archives = shared / "nih-mini"
    dataset = {
        "nih": {
            "manifest": str(archives / "archives.tsv"),
            "labels": str(archives / "Data_Entry_2017_v2020.csv"),
        }
    }
    snakemake(
        folder, "--configfile", root / "tests/workflow/nih-mini.yaml",
        "--config", f"nih_dir={archives}", f"dataset={json.dumps(dataset)}",
    )  # fmt: skip
    return folder / "results" / "nih-mini", json.loads((archives / "facts.json").read_text())


def test_every_image_decodes_and_the_cohort_is_the_known_one(nih_run):
    data, facts = nih_run
    labels = pd.read_parquet(data / "labels.parquet")
    cohort = pd.read_parquet(data / "cohort.parquet")
    assert len(labels) == facts["images"] == 1509
    assert labels["patient_id"].nunique() == facts["patients"] == 684
    assert len(cohort) == facts["six_class_images"] == 952
    assert cohort["patient_id"].nunique() == facts["six_class_patients"] == 475
    assert cohort["class_name"].value_counts().to_dict() == facts["six_class"]
    index = pd.concat(pd.read_parquet(path) for path in data.glob("tensors/32/images_00?.parquet"))
    assert set(index["image_id"]) == set(labels["image_id"])
    assert set(index.loc[index["mode"] == "RGBA", "image_id"]) >= set(facts["rgba"])


def test_no_patient_is_shared_and_the_report_is_there(nih_run):
    data, _ = nih_run
    report = json.loads((data / "split_report.json").read_text())
    assert report["patients_shared_between_splits"] == 0
    patients = [
        set(pd.read_csv(data / f"splits/{split}.csv", dtype=str)["patient_id"])
        for split in ("train", "val", "test")
    ]
    assert len(set.union(*patients)) == sum(map(len, patients)) == 475
    page = (data / "report" / "index.html").read_text()
    assert "Wang" in page, "the data set's citation is part of its terms"
