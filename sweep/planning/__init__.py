"""What will run, and what it costs: plans, packs, estimates and the checks before a start."""
