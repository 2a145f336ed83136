"""Inpainting and super-resolution through Snakemake, on the finished small run."""

import json
import re
import shutil

import numpy as np
import pandas as pd


def test_what_is_hidden_is_filled_in_and_what_is_reduced_is_enlarged(
    snakemake, phantom_run, phantom_config, root, tmp_path
):
    shutil.copytree(phantom_run, tmp_path, dirs_exist_ok=True)
    over = root / "tests" / "workflow" / "restoring.yaml"
    configured = ("--configfile", phantom_config, over)
    targets = ("inpainting", "superresolution", "report")
    said = snakemake(tmp_path, *targets, *configured).stderr
    ran = set(re.findall(r"^(?:local)?rule (\w+):", said, flags=re.MULTILINE))
    assert ran - set(targets) == {
        "draw_masks", "fill_biharmonic", "inpaint_images", "measure_inpainting", "plot_inpainting",
        "train_superresolution", "choose_superresolution", "enlarge_images",
        "measure_superresolution", "plot_superresolution", "render_report",
    }, "the model and the images were there"  # fmt: skip

    data = tmp_path / "results" / "phantom"
    filled, enlarged = data / "inpainting" / "tiny", data / "superresolution" / "tiny" / "x2"
    masks = pd.read_parquet(filled / "masks.parquet")
    assert len(masks) == 12 and np.load(filled / "mean.npy").shape == (12, 16, 16)
    assert json.loads((enlarged / "model.json").read_text())["conditions"] == {}
    for folder, count in ((filled, 6), (enlarged, 6)):
        summary = pd.read_parquet(folder / "summary.parquet")
        assert (summary["n_images"] == count).all()
        assert summary.loc[summary["samples"] == 2, "difference"].notna().all()
        assert (folder / "panel.png").stat().st_size > 10_000
    seen = set(pd.read_parquet(enlarged / "seen.parquet")["patient_id"])
    tried = pd.read_parquet(enlarged / "images.parquet")["patient_id"]
    assert seen.isdisjoint(tried) and seen.isdisjoint(masks["patient_id"])
    assert not list(data.rglob("checkpoints/*")), "the state of a finished training is cleared"

    report = (data / "report" / "index.html").read_text()
    for name, reference in (("inpainting", "the biharmonic answer"), ("superresolution", "cubic")):
        section = report.split(f'<section id="{name}">')[1].split("</section>")[0]
        assert "Too few test subjects to tell" in section and reference in section
        assert "of 6 subjects" in section
    assert '<section id="anomaly">' not in report

    page = snakemake(tmp_path, "audit", *configured) and (data / "audit/index.html").read_text()
    for link in ("Super-resolution tiny x2 learned from", "Inpainting tiny is judged on"):
        assert link in page


def test_a_folder_without_masks_stops_the_plan(forks, root, phantom_config, tmp_path):
    entry = {"tiny": {"model": "small", "masks": {"kinds": ["files"], "folder": str(tmp_path)}}}
    status, said = forks.run(
        root, "snakemake", "-n", "--snakefile", root / "Snakefile", "--workflow-profile",
        root / "profiles" / "default", "--directory", tmp_path, "inpainting",
        "--configfile", phantom_config, "--config", f"inpainting={json.dumps(entry)}",
    )  # fmt: skip
    assert status != 0
    assert f"inpainting.tiny.masks.folder: {tmp_path} holds no PNG file" in said
