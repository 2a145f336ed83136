"""The search for what is not healthy, through Snakemake."""

import shutil

import numpy as np
import pandas as pd
import pytest

from tests.workflow.running import artefacts
from tests.workflow.test_audit import CHAPTERS, DATA, Run, copied, failing
from workflow_scripts.common.schemas import ANOMALY_SCORES, ANOMALY_SUMMARY, SEEN
from workflow_scripts.common.tables import read_table


@pytest.fixture(scope="module")
def searched(snakemake, phantom_run, phantom_config, tmp_path_factory):
    """The finished small run with the search made on top: its folder, and what was there before."""
    folder = tmp_path_factory.mktemp("searched")
    shutil.copytree(phantom_run, folder, dirs_exist_ok=True)
    before = artefacts(folder)
    snakemake(folder, "anomaly", "--configfile", phantom_config)
    return folder / "results" / "phantom", folder, before


def test_a_search_adds_its_own_files_and_changes_no_other(searched):
    data, folder, before = searched
    after = artefacts(folder)
    assert {name for name, digest in before.items() if after[name] != digest} == set()
    new = {name.removeprefix("phantom/") for name in after.keys() - before.keys()}
    own = "anomaly/search"
    assert new == {
        "tensors/16/regions/images_001.npy", "tensors/16/regions/images_001.parquet",
        "tensors/16/regions/images_002.npy", "tensors/16/regions/images_002.parquet",
        *(f"{own}/model/{name}" for name in (
            "model.json", "average.parquet", "progress.png", "seen.parquet", "training_log.parquet",
            "ema/short.safetensors", "ema/long.safetensors", "ema/early.safetensors",
            "unet/config.json", "unet/diffusion_pytorch_model.safetensors",
        )),
        *(f"{own}/autoencoder/{name}" for name in (
            "weights.safetensors", "training_log.parquet", "seen.parquet",
        )),
        f"{own}/healed/gaussian/1.0.npy", f"{own}/healed/simplex/1.0.npy",
        f"{own}/healed/autoencoder.npy",
        f"{own}/scores.parquet", f"{own}/summary.parquet",
        f"{own}/sweep.png", f"{own}/findings.png", f"{own}/examples.png",
    }  # fmt: skip
    assert not list((data / "anomaly/search/model").rglob("*.pt"))


def test_nothing_learned_from_a_test_patient_and_the_autoencoder_from_healthy_ones_alone(searched):
    data, *_ = searched
    images = pd.read_parquet(data / "tensors/16/images.parquet").set_index("image_id")
    for name in ("model", "autoencoder"):
        seen = read_table(data / f"anomaly/search/{name}/seen.parquet", SEEN)
        assert set(images.loc[seen["image_id"], "split"]) == {"train"}
    assert set(images.loc[seen["image_id"], "class_name"]) == {"No Finding"}
    train = images[(images["split"] == "train") & (images["class_name"] == "No Finding")]
    assert set(seen["image_id"]) == set(train.index)


def test_the_tables_tell_of_every_image_and_method(searched):
    data, *_ = searched
    scores = read_table(data / "anomaly/search/scores.parquet", ANOMALY_SCORES)
    assert set(scores["method"]) == {"gaussian", "simplex", "autoencoder"}
    counts = scores.groupby(["method", "split", "class_name"]).size()
    assert counts.max() == 6
    well = scores["class_name"] == "No Finding"
    assert scores.loc[well, "region"].isna().all()
    assert scores.loc[~well, "region"].notna().mean() > 0.9
    summary = read_table(data / "anomaly/search/summary.parquet", ANOMALY_SUMMARY)
    assert set(summary["class_name"]) == {"macro", "Cardiomegaly", "Effusion"}
    assert set(summary["measure"]) == {"auroc", "pixel_auroc", "average_precision", "dice", "hit"}
    healed = np.load(data / "anomaly/search/healed/simplex/1.0.npy")
    assert len(healed) == scores["image_id"].nunique()


def test_the_audit_knows_a_search_and_finds_what_is_forged_in_it(searched, tmp_path, monkeypatch):
    monkeypatch.chdir(copied(searched[1], tmp_path))
    assert failing(*CHAPTERS) == {}
    run = Run()
    train = run.image("train")
    own = f"{DATA}/anomaly/search"
    run.put(f"{own}/scores.parquet", {}, image_id=train.image_id, patient_id=train.patient_id)
    run.put(f"{own}/summary.parquet", {"class_name": "Effusion"}, value=lambda old: 1 - old + 0.01)
    run.edit(f"{own}/summary.parquet", lambda table: table.assign(chosen=table["level"] > 1))
    run.put(
        f"{own}/autoencoder/seen.parquet",
        {},
        image_id=run.images.query("class_name == 'Effusion' and split == 'train'")["image_id"].iloc[
            0
        ],
    )
    run.add(f"{own}/model/seen.parquet", image_id=run.image("test").image_id)
    run.forge()
    found = failing(*CHAPTERS)
    faults = {
        (name, fault.path.removeprefix(f"{own}/")): fault.what
        for name, check in found.items()
        for fault in check.faults
    }
    assert set(faults) == {
        ("searches_score_held_out_images", "scores.parquet"),
        ("searches_follow", "summary.parquet"),
        ("generators_saw_no_held_out_patient", "autoencoder/seen.parquet"),
        ("generators_saw_no_held_out_patient", "model/seen.parquet"),
    }
