"""The image classifier that judges: its network, its training, its features."""
