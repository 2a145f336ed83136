"""Train a diffusion model that is given each image reduced and enlarged again (SR3).

Saharia et al. 2022, "Image super-resolution via iterative refinement": the network sees the noisy
image and, beside it, the small one enlarged by cubic interpolation, of which it says what it lacks, as
Li et al. 2022, "SRDiff: single image super-resolution with diffusion probabilistic models", do.
"""

from workflow_scripts.common.runtime import step
from workflow_scripts.training.train_diffusion import train_as_asked

if __name__ == "__main__":
    with step(snakemake) as config:
        if config is not None:  # not in the cache
            train_as_asked(snakemake, config)
