"""What networks see in images: their weights, and the features of every image set, taken once."""
