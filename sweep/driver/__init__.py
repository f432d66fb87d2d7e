"""What runs: the tuner, its searcher and recorder, and the trials on the workers."""
