"""Choose how long the average of a super-resolution model's weights is."""

from workflow_scripts.common.runtime import step
from workflow_scripts.training.checkpoint import clear
from workflow_scripts.training.choose_average import choose_as_asked

if __name__ == "__main__":
    with step(snakemake) as config:
        if config is not None:  # not in the cache
            choose_as_asked(snakemake, snakemake.input, config)
    # Now that Snakemake has noted that the training is done.
    clear(snakemake.input.model)
