"""Topic classification: one label a text."""
