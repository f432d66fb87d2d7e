"""The cases that people met, each with a small input of its own and its right outcome."""
