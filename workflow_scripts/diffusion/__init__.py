"""Train a class-conditional diffusion model and sample from it."""
