"""The span of a passage that answers a question."""
