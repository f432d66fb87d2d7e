"""What a trial's or a run's end is called."""

STATES = ("complete", "pruned", "failed")
"""A trial's state is the first of these that one of its runs is in."""
