"""Draw reduced images, enlarged ones and how far they are off, and the loss of the training."""

from pathlib import Path

from workflow_scripts.common.figures import save_figure
from workflow_scripts.common.levels import shown
from workflow_scripts.common.panels import panel, signed_errors
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import IMAGES
from workflow_scripts.common.store import ImageStore, open_array
from workflow_scripts.common.tables import read_table
from workflow_scripts.training.plot_training import plot_loss

ROWS = 6


def plot_superresolution(
    table: Path,
    shards: list[Path],
    reduced: Path,
    bicubic: Path,
    sample: Path,
    mean: Path,
    figure: Path,
    config: dict,
) -> None:
    """Draw the first images, one of each class in turn, ROWS in all.

    Parameters
    ----------
    table, shards, bicubic, sample, mean : as of `measure_superresolution`
    reduced : what all were enlarged from, `.npy`
    figure : output, PNG
    config : `factor`, `samples`, `phantom` (whether films are drawn ones)
    """
    rows = read_table(table, IMAGES).head(ROWS)
    truth = ImageStore(rows, shards).all()
    answers = [("bicubic", bicubic), ("model, one draw", sample)]
    if config["samples"] > 1:
        answers.append((f"mean of {config['samples']} draws", mean))
    enlarged = [(name, open_array(path)[: len(rows)]) for name, path in answers]
    kind = "Phantom films" if config["phantom"] else "Test images"
    factor = config["factor"]
    save_figure(
        panel(
            list(rows["class_name"]),
            [
                ("reduced", shown(open_array(reduced)[: len(rows)])),
                *((name, shown(images)) for name, images in enlarged),
                ("truth", shown(truth)),
            ],
            [(f"error:\n{name}", signed_errors(images, truth)) for name, images in enlarged],
            f"{kind} reduced {factor} times each way, and enlarged again",
        ),
        figure,
    )


if __name__ == "__main__":
    with step(snakemake) as config:
        plot_superresolution(
            Path(snakemake.input.table),
            [Path(path) for path in snakemake.input.shards],
            Path(snakemake.input.reduced),
            Path(snakemake.input.bicubic),
            Path(snakemake.input.sample),
            Path(snakemake.input.mean),
            Path(snakemake.output.panel),
            config,
        )
        plot_loss(Path(snakemake.input.log), Path(snakemake.output.curve))
