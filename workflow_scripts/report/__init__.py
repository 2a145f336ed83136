"""One page that says what ran, what came out and what it means."""
