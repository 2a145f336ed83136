"""Pack a trained model so that others can use it, with a card that says what it is."""
