"""Real models out of PyPI packages, converted once into the cache."""
