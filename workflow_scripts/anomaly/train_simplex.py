"""Train a model's recipe anew with simplex noise in place of Gaussian noise."""

from pathlib import Path

from workflow_scripts.common.runtime import step
from workflow_scripts.training.checkpoint import clear
from workflow_scripts.training.choose_average import choose_average
from workflow_scripts.training.train_diffusion import AVERAGE_NAMES, train_diffusion, write_seen


def simplex(model: dict) -> dict:
    """Return a section of `models` with simplex noise: all else stays, so that nothing else differs."""
    return model | {"diffusion": model["diffusion"] | {"noise": "simplex"}}


if __name__ == "__main__":
    with step(snakemake) as config:
        if config is not None:  # not in the cache
            images = Path(snakemake.input.images)
            shards = [Path(path) for path in snakemake.input.shards]
            averages = {name: Path(snakemake.output[name]) for name in AVERAGE_NAMES}
            checkpoints = Path(snakemake.output.model).parent / "checkpoints"
            config["model"] = simplex(config["model"])
            train_diffusion(
                images,
                shards,
                Path(snakemake.output.model),
                averages,
                Path(snakemake.output.log),
                Path(snakemake.output.progress),
                checkpoints,
                config,
                snakemake.params.code,
                snakemake.resources.get("gpu"),
            )
            choose_average(
                images,
                shards,
                averages["short"],
                averages["long"],
                Path(snakemake.output.unet),
                Path(snakemake.output.weights),
                Path(snakemake.output.average),
                config | {"ema": config["model"]["training"]["ema"]},
            )
            write_seen(images, shards, Path(snakemake.output.seen))
            clear(checkpoints)
