"""Pack a finished run so that it can be archived, cited and understood without this repository."""
