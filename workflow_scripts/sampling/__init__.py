"""Draw each sampler's images from each model."""
