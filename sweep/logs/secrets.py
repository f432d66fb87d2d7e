"""What must not stand in a message: passwords and keys."""

import os
import re

SECRETS = ("WANDB_API_KEY", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "DATABRICKS_TOKEN")
"""Variables whose values are in no message."""


def describe_failure(error: BaseException) -> str:
    """Return a tool's error in one line, without passwords."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return hide_secrets(lines[0])[:300]


def hide_secrets(text: str) -> str:
    """Return a text without the users and passwords of its URIs and the values of `SECRETS`."""
    for name in SECRETS:
        if value := os.environ.get(name):
            text = text.replace(value, "***")
    return re.sub(r"://[^/\s@]+@", "://***@", text)
