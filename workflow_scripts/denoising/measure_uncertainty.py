"""Measure whether the spread of drawn answers is as large as their error, and draw it."""

from pathlib import Path

from workflow_scripts.common.figures import save_figure
from workflow_scripts.common.runtime import log, progress, step
from workflow_scripts.common.schemas import SPREAD, UNCERTAINTY
from workflow_scripts.common.tables import table_of, write_table
from workflow_scripts.denoising.figures.calibration import draw_uncertainty
from workflow_scripts.denoising.judged import judged
from workflow_scripts.denoising.restored import read_restored
from workflow_scripts.denoising.uncertainty import uncertainty


def measure_uncertainty(
    images: Path,
    shards: list[Path],
    restored: dict[str, Path],
    table: Path,
    spread: Path,
    figure: Path,
    config: dict,
) -> None:
    """Write UNCERTAINTY and SPREAD of every method that draws several answers, and their figure.

    Parameters
    ----------
    images : table IMAGES of the patches
    shards : the store's shards
    restored : file of each such method
    config : `noise`, `images` (how many), `seed`, `score`, `bootstrap`
    """
    patches = judged(images, shards, "test", config["images"], config["seed"])
    rows, bins = [], []
    for method, path in progress(restored.items(), "uncertainty", len(restored), "method"):
        found = uncertainty(
            method,
            read_restored(path),
            patches,
            config["noise"],
            config["score"],
            config["bootstrap"],
            config["seed"],
        )
        rows += found[0]
        bins += found[1]
    numbers, by_bin = table_of(rows, UNCERTAINTY), table_of(bins, SPREAD)
    write_table(numbers, table, UNCERTAINTY)
    write_table(by_bin, spread, SPREAD)
    for row in numbers[numbers["measure"] == "error_over_spread"].itertuples():
        log.info(
            "%s, %s: error over spread %.2f, %s", row.condition, row.method, row.value, row.verdict
        )
    save_figure(draw_uncertainty(numbers, by_bin), figure)


if __name__ == "__main__":
    with step(snakemake) as config:
        measure_uncertainty(
            Path(snakemake.input.images),
            [Path(path) for path in snakemake.input.shards],
            dict(zip(config["methods"], map(Path, snakemake.input.restored), strict=True)),
            Path(snakemake.output.table),
            Path(snakemake.output.spread),
            Path(snakemake.output.figure),
            config,
        )
