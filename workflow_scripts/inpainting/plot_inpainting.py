"""Draw what was hidden, what was filled in, and how far it is off."""

from pathlib import Path

import numpy as np

from workflow_scripts.common.figures import save_figure
from workflow_scripts.common.levels import shown
from workflow_scripts.common.panels import panel, signed_errors, with_hidden
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import MASKS
from workflow_scripts.common.store import ImageStore, open_array
from workflow_scripts.common.tables import read_table

ROWS = 6


def plot_inpainting(
    table: Path,
    masks: Path,
    shards: list[Path],
    biharmonic: Path,
    sample: Path,
    mean: Path,
    figure: Path,
    config: dict,
) -> None:
    """Draw the first images of each kind of mask, ROWS in all or one of each kind.

    Parameters
    ----------
    table, masks, shards, biharmonic, sample, mean : as of `measure_inpainting`
    figure : output, PNG
    config : `samples`, `phantom` (whether films are drawn ones), `model` (its name)
    """
    rows = read_table(table, MASKS)
    each = max(1, ROWS // rows["mask"].nunique())
    turn = rows.groupby("mask", sort=False).cumcount()
    chosen = np.flatnonzero(turn < each)
    truth = ImageStore(rows.iloc[chosen], shards).all()
    hidden = open_array(masks)[chosen]
    answers = [("biharmonic", biharmonic), ("model, one draw", sample)]
    if config["samples"] > 1:
        answers.append((f"mean of {config['samples']} draws", mean))
    restored = [(name, open_array(path)[chosen]) for name, path in answers]
    names = rows.iloc[chosen]
    kind = "Phantom films" if config["phantom"] else "Test images"
    save_figure(
        panel(
            [f"{row.class_name}\n{row.mask}" for row in names.itertuples()],
            [
                ("image", shown(truth)),
                ("masked", with_hidden(shown(truth), hidden)),
                *((name, shown(answer)) for name, answer in restored),
            ],
            [(f"error:\n{name}", signed_errors(answer, truth)) for name, answer in restored],
            f"{kind} with a part hidden, and filled in by model {config['model']}",
        ),
        figure,
    )


if __name__ == "__main__":
    with step(snakemake) as config:
        plot_inpainting(
            Path(snakemake.input.table),
            Path(snakemake.input.masks),
            [Path(path) for path in snakemake.input.shards],
            Path(snakemake.input.biharmonic),
            Path(snakemake.input.sample),
            Path(snakemake.input.mean),
            Path(snakemake.output[0]),
            config,
        )
