"""What the notebooks call beside the workflow's own: small data, and answers known in closed form."""
