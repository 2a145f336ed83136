"""Decode every image once, reduce it with one kernel, keep it as uint8 shards."""
