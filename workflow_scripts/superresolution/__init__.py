"""Restore held-out images from reduced ones with a model that is given them."""
