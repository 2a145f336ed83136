"""Measure how close synthetic images are to real ones, each number beside its floor."""
