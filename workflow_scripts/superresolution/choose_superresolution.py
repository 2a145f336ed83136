"""Choose how long the average of a super-resolution model's weights is."""

from pathlib import Path

from workflow_scripts.common.runtime import step
from workflow_scripts.training.checkpoint import clear
from workflow_scripts.training.choose_average import choose_average

if __name__ == "__main__":
    with step(snakemake) as config:
        if config is not None:  # not in the cache
            choose_average(
                Path(snakemake.input.images),
                [Path(path) for path in snakemake.input.shards],
                Path(snakemake.input.short),
                Path(snakemake.input.long),
                Path(snakemake.output.unet),
                Path(snakemake.output.weights),
                Path(snakemake.output.average),
                config,
            )
    # Now that Snakemake has noted that the training is done.
    clear(Path(snakemake.input.model).parent / "checkpoints")
