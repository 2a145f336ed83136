"""Can people tell synthetic from real? A blinded page for readers, and its scores."""
