"""Train the network of one method, and choose the average of its weights."""

from workflow_scripts.common.runtime import step
from workflow_scripts.training.at_once import train_and_choose
from workflow_scripts.training.checkpoint import clear

if __name__ == "__main__":
    with step(snakemake) as config:
        if config is not None:  # not in the cache
            train_and_choose(snakemake, config)
    clear(snakemake.output.model)
