"""The phantom: radiographs of invented people, whose findings and their places are known."""
