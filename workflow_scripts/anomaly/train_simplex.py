"""Train a model's recipe anew with simplex noise in place of Gaussian noise."""

from workflow_scripts.anomaly.judged import require_images
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import IMAGES
from workflow_scripts.common.tables import read_table
from workflow_scripts.training.at_once import train_and_choose
from workflow_scripts.training.checkpoint import clear


def simplex(model: dict) -> dict:
    """Return a section of `models` with simplex noise: all else stays, so that nothing else differs."""
    return model | {"diffusion": model["diffusion"] | {"noise": "simplex"}}


if __name__ == "__main__":
    with step(snakemake) as config:
        if config is not None:  # not in the cache
            require_images(read_table(snakemake.input.images, IMAGES), config.pop("healthy"))
            train_and_choose(snakemake, config | {"model": simplex(config["model"])})
    clear(snakemake.output.model)
