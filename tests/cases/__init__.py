"""Cases as people have them, each with its own small input and its right outcome."""
