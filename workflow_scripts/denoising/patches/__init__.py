"""Patches are cut from the images of a data set, and get the split of their patient."""
