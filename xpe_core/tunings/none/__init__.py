"""Nothing is inserted: the readout alone is trained."""
