"""An older version's ids, weights and experiments, which every later version must give or read."""
