"""Summarise the scores of images: AUROC of health against each finding, and where findings are."""

from pathlib import Path

from workflow_scripts.anomaly.summary import summarise
from workflow_scripts.common.runtime import log, step
from workflow_scripts.common.schemas import ANOMALY_SCORES, ANOMALY_SUMMARY, MACRO
from workflow_scripts.common.tables import read_table, write_table


def summarise_anomaly(scores: Path, summary: Path, classes: list[str], settings: dict) -> None:
    """Write ANOMALY_SUMMARY of ANOMALY_SCORES.

    Parameters
    ----------
    classes : names of the classes
    settings : `healthy`, `bootstrap` and `seed`, of an entry of `anomaly`
    """
    table = summarise(
        read_table(scores, ANOMALY_SCORES),
        classes,
        settings["healthy"],
        settings["bootstrap"],
        settings["seed"],
    )
    write_table(table, summary, ANOMALY_SUMMARY)
    headline = table[
        table["chosen"] & (table["measure"] == "auroc") & (table["class_name"] == MACRO)
    ]
    for row in headline.itertuples():
        log.info(
            "%s at σ/α %g: AUROC %.3f (%.3f to %.3f), mean of findings",
            row.method,
            row.level,
            row.value,
            row.low,
            row.high,
        )


if __name__ == "__main__":
    with step(snakemake) as config:
        summarise_anomaly(
            Path(snakemake.input.scores),
            Path(snakemake.output.summary),
            config["classes"],
            config,
        )
