"""Prove a finished run anew: its bytes, its patients, its counts and its results."""
