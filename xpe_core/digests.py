"""Short names for values, the same on every machine."""

import hashlib
import json
from typing import Any


def digest(value: Any) -> str:
    """Return 16 hex digits of the SHA-256 of a JSON-like value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
