"""Natural language inference: one label a pair of texts."""
