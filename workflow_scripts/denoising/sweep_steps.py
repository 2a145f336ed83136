"""Let a diffusion model denoise validation patches by one sampler in one number of steps."""

from pathlib import Path

from workflow_scripts.common.runtime import step
from workflow_scripts.denoising.denoise import denoise

if __name__ == "__main__":
    with step(snakemake) as config:
        if config is not None:  # not in the cache
            denoise(
                Path(snakemake.input.images),
                [Path(path) for path in snakemake.input.shards],
                Path(snakemake.input.model[0]).parent,
                Path(snakemake.output.restored),
                config,
            )
