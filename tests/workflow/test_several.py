"""A cohort of several findings per film, a model of two processes, a guided second-order sampler."""

import re

import pandas as pd


def test_films_of_several_findings_teach_the_model_and_judge_nothing(snakemake, root, tmp_path):
    config = root / "tests" / "workflow" / "several.yaml"
    targets = ("evaluate", "report", "export")
    snakemake(tmp_path, *targets, "--configfile", config, "--config", "device=cpu")
    data = tmp_path / "results" / "several"
    images = pd.read_parquet(data / "tensors/16/images.parquet")
    several = images["findings"].str.contains("|", regex=False)
    assert several.any()
    assert (images.loc[~several, "findings"] == images.loc[~several, "class_name"]).all()
    log = pd.read_parquet(data / "models/pair/training_log.parquet")
    assert log["images"].iloc[-1] == 20 * 16
    samples = pd.read_parquet(data / "samples/pair/heun3/samples.parquet")
    assert (samples["class_name"].value_counts() == 5).all()
    metrics = pd.read_parquet(data / "evaluate/pair/heun3/metrics.parquet")
    alone = images[~several & (images["split"] == "val")]
    accuracy = metrics[metrics["metric"] == "class_accuracy"].set_index("class_name")
    for name, count in alone["class_name"].value_counts().items():
        assert accuracy.loc[name, "n_reference"] == count
    page = (data / "report/index.html").read_text()
    assert "learnt from images with several findings too" in page
    assert "No study was configured" in page
    card = (data / "export/pair/README.md").read_text()
    assert re.search(rf"\b{several.sum()} images?\s+with several findings", card)
