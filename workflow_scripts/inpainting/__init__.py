"""Fill masked parts of held-out images with a trained model."""
