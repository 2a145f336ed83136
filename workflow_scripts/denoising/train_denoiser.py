"""Train the network of one method, and choose the average of its weights."""

from pathlib import Path

from workflow_scripts.common.runtime import step
from workflow_scripts.training.checkpoint import clear
from workflow_scripts.training.choose_average import choose_average
from workflow_scripts.training.train_diffusion import AVERAGE_NAMES, train_diffusion, write_seen

if __name__ == "__main__":
    with step(snakemake) as config:
        if config is not None:  # not in the cache
            made = snakemake.output
            images = Path(snakemake.input.images)
            shards = [Path(path) for path in snakemake.input.shards]
            averages = {name: Path(made[name]) for name in AVERAGE_NAMES}
            checkpoints = Path(made.model).parent / "checkpoints"
            train_diffusion(
                images,
                shards,
                Path(made.model),
                averages,
                Path(made.log),
                Path(made.progress),
                checkpoints,
                config,
                snakemake.params.code,
                snakemake.resources.get("gpu"),
            )
            write_seen(images, shards, Path(made.seen))
            choose_average(
                images,
                shards,
                averages["short"],
                averages["long"],
                Path(made.unet),
                Path(made.weights),
                Path(made.average),
                config | {"ema": config["model"]["training"]["ema"]},
            )
    clear(Path(snakemake.output.model).parent / "checkpoints")
