"""Files, settings and machines as people have them: each case a small input of its own, with its right outcome."""
