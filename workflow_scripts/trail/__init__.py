"""Read what a run left behind: its records, its bytes, and what would run again and why."""
