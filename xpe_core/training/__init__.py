"""Training a pack of runs on one backbone: steps, passes, optimizers, state and cost."""
