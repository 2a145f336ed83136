"""What a run leaves behind to be checked: its records, the audit of them, what would run and why."""
