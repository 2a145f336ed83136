"""The figures of a denoising study."""
