"""Does a classifier gain from synthetic images? Arms, predictions, intervals."""
