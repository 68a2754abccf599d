"""Errors that end in one clear line instead of a traceback."""


class InputError(ValueError):
    """Something a user can mend: the message says what was expected, what came, and what to do."""
