"""Bring the raw images and the label table to where the workflow can read them."""
