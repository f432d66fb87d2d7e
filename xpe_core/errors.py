"""The one exception that is meant for the user's eyes.

The command line prints its message as it is and exits with status 2; every other exception is a defect of ours.
"""


class InputError(Exception):
    """What the user gave cannot be used: one sentence that says what, where, and what is allowed."""
