"""Judge one diffusion model by the sampler and the number of steps, on validation patches."""

from pathlib import Path

import pandas as pd

from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import RESTORATION, SWEEP
from workflow_scripts.common.tables import write_table
from workflow_scripts.denoising.judged import judged
from workflow_scripts.denoising.restored import read_restored
from workflow_scripts.denoising.rows import rows_of
from workflow_scripts.metrics.restoration_summary import summarise


def score_sweep(
    images: Path,
    shards: list[Path],
    restored: dict[tuple[str, int], Path],
    rows: Path,
    sweep: Path,
    config: dict,
) -> None:
    """Write RESTORATION of each sampler and number of steps, as methods `ddim 5`, and its summary SWEEP.

    Test patches are left for the methods as they are configured: steps may be chosen by this table.

    Parameters
    ----------
    images : table IMAGES of the patches
    shards : the store's shards
    restored : file of each sampler and number of steps
    rows, sweep : outputs
    config : `noise`, `images` (how many), `seed`, `score`, `bootstrap`
    """
    patches = judged(images, shards, "val", config["images"], config["seed"])
    cases = {f"{sampler} {steps}": (sampler, steps) for sampler, steps in restored}
    table = pd.DataFrame(
        row
        for (case, key) in cases.items()
        for row in rows_of(
            case, read_restored(restored[key]), patches, config["noise"], config["score"]
        )
    )
    write_table(table, rows, RESTORATION)
    summary = summarise(table, "", config["bootstrap"], config["seed"])
    about = pd.DataFrame([cases[case] for case in summary["method"]], columns=["sampler", "steps"])
    write_table(pd.concat([about, summary], axis=1)[list(SWEEP.columns)], sweep, SWEEP)


if __name__ == "__main__":
    with step(snakemake) as config:
        cases = [(sampler, steps) for sampler, steps in config["cases"]]
        score_sweep(
            Path(snakemake.input.images),
            [Path(path) for path in snakemake.input.shards],
            dict(zip(cases, map(Path, snakemake.input.restored), strict=True)),
            Path(snakemake.output.rows),
            Path(snakemake.output.sweep),
            config,
        )
