"""Random streams: one a purpose, all out of a run's seed."""

import hashlib


def stream_seed(seed: int, name: str) -> int:
    """Return the seed of one named stream of random numbers (weights, dropout, order) of the run with `seed`."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:7], "big")
