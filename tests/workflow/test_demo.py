"""The demonstration itself: `pytest -m demo`, about nine minutes on two cores."""

import pandas as pd
import pytest

pytestmark = pytest.mark.demo


def test_the_generator_has_learned_its_classes(snakemake, tmp_path):
    snakemake(tmp_path)
    metrics = pd.read_parquet(
        tmp_path / "results/phantom/evaluate/recommended/dpm20/metrics.parquet"
    ).set_index(["metric", "class_name"])
    seen = metrics.loc[("class_accuracy", "pooled")]
    assert seen["n"] >= 600
    assert seen["value"] >= 0.7, "share of synthetic images seen as the class asked for"
    assert seen["floor"] >= 0.9, "the judge itself must know real phantom films"
    page = (tmp_path / "results/phantom/report/index.html").read_text()
    assert f"{seen['value']:.0%}".removesuffix("%") in page
