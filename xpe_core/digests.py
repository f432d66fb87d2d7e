"""Short names for values, the same on every machine."""

import hashlib
import json

from xpe_core.json_types import Json


def digest(value: Json) -> str:
    """Return 16 hex digits of the SHA-256 of a value as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
