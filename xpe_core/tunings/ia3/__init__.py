"""Learned scales of keys, values and the feed-forward layer's inner states (IA3, arXiv:2205.05638)."""
