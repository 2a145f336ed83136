"""The mathematics of judging: features and images in, estimates with intervals out."""
