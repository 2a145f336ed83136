"""Find what is not healthy by making an image healthy."""
