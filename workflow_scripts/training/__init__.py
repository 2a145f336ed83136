"""Train a diffusion model and choose the length of its weights' average."""
