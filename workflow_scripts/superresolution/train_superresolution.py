"""Train a diffusion model that is given each image reduced and enlarged again (SR3).

Saharia et al. 2022, "Image super-resolution via iterative refinement": the network sees the noisy
image and, beside it, the small one enlarged by cubic interpolation.
"""

from pathlib import Path

from workflow_scripts.common.runtime import step
from workflow_scripts.training.train_diffusion import AVERAGE_NAMES, train_diffusion, write_seen

if __name__ == "__main__":
    with step(snakemake) as config:
        if config is not None:  # not in the cache
            images = Path(snakemake.input.images)
            shards = [Path(path) for path in snakemake.input.shards]
            train_diffusion(
                images,
                shards,
                Path(snakemake.output.model),
                {name: Path(snakemake.output[name]) for name in AVERAGE_NAMES},
                Path(snakemake.output.log),
                Path(snakemake.output.progress),
                Path(snakemake.output.model).parent / "checkpoints",
                config,
                snakemake.params.code,
                snakemake.resources.get("gpu"),
            )
            write_seen(images, shards, Path(snakemake.output.seen))
