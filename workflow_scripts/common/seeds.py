"""Independent random streams, each named by what it is for."""

import hashlib
import json

import numpy as np


def seed_for(*parts: int | str) -> int:
    """Return a seed in [0, 2**63) that depends on every part and on nothing else.

    `seed_for(seed, "shuffle", epoch)` gives streams that do not overlap and do not depend on the
    order in which they are asked for.
    """
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*parts: int | str) -> np.random.Generator:
    """Return a NumPy generator seeded by `seed_for(*parts)`."""
    return np.random.default_rng(seed_for(*parts))
