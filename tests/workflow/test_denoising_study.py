"""The denoising study through Snakemake, of deep patches with the noise of MR."""

import json

import h5py
import numpy as np
import pandas as pd

from tests.workflow.running import litter


def test_every_method_denoises_the_same_patches_of_unseen_patients(
    snakemake, phantom_config, root, tmp_path
):
    over = root / "tests" / "workflow" / "denoising.yaml"
    snakemake(tmp_path, "denoising", "--configfile", phantom_config, over)
    study = tmp_path / "results" / "phantom" / "denoising" / "tiny"

    report = json.loads((study / "patches.json").read_text())
    assert report["patients_in_two_splits"] == [] and report["dropped_as_background"] > 0
    images = pd.read_parquet(study / "images.parquet").set_index("image_id")
    with h5py.File(study / "patches.h5") as file:
        assert file["test/clean"].dtype == np.uint16
        assert file["test/noisy"].shape == (2, report["splits"]["test"]["patches"], 16, 16)

    rows = pd.read_parquet(study / "restoration.parquet")
    assert set(rows["method"]) == {"noisy", "nlm", "unet", "guided", "matched"}
    assert set(rows["condition"]) == {"rician 0.01", "rician 0.04"}
    assert (rows.groupby(["method", "samples", "condition"])["image_id"].nunique() == 8).all()
    tested = images.loc[rows["image_id"].unique()]
    assert set(tested["split"]) == {"test"}
    for name in ("unet", "guided", "matched"):
        seen = pd.read_parquet(study / "models" / name / "seen.parquet")
        assert set(seen["patient_id"]).isdisjoint(tested["patient_id"])
    facts = {
        name: json.loads((study / "models" / name / "model.json").read_text())
        for name in ("unet", "guided", "matched")
    }
    assert facts["unet"]["diffusion"] == {"process": "regression", "loss": "huber"}
    assert facts["guided"]["given"]["variances"] == [0.01, 0.04]
    assert facts["matched"]["given"] is None and facts["matched"]["bits"] == 16
    # The same network and steps, but for what takes in the noisy patch (2 × 2 pixels, by 16 filters of
    # 3 × 3) and its variance (one of two or unknown, by 64 features).
    parameters = {name: about["parameters"] for name, about in facts.items()}
    assert parameters["guided"] - parameters["unet"] == 4 * 16 * 9
    assert parameters["unet"] - parameters["matched"] == 3 * 64
    for name in facts:
        log = pd.read_parquet(study / "models" / name / "training_log.parquet")
        assert log["step"].iloc[-1] == 20

    summary = pd.read_parquet(study / "summary.parquet")
    assert summary.loc[summary["method"] == "nlm", "difference"].isna().all()
    assert summary.loc[summary["method"] == "unet", "difference"].notna().all()
    assert set(pd.read_parquet(study / "uncertainty.parquet")["method"]) == {
        "guided",
        "matched",
    }
    assert len(pd.read_parquet(study / "sweep.parquet")) == 2 * 2 * 2 * 2 * 3
    for name in ("methods", "steps", "examples", "uncertainty", "examples_sheet"):
        assert (study / f"{name}.png").stat().st_size > 1000
    assert (study / "examples.tiff").stat().st_size > 1000
    assert litter(tmp_path) == []

    snakemake(tmp_path, "audit", "--configfile", phantom_config, over)
    page = (tmp_path / "results" / "phantom" / "audit" / "index.html").read_text()
    for link in ("Denoising tiny: guided learned from", "Denoising tiny is judged on"):
        assert link in page
