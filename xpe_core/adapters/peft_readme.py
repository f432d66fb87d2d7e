"""Provisional."""

BUNDLED_NOTE = "cp {base} {base}"
