"""Errors that end in one clear line instead of a traceback, and the words such lines are made of."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something a user can mend: the message says what was expected, what came, and what to do."""


def near(name: str, known: Iterable[str]) -> str:
    """Return a hint such as `; did you mean lgm?`, or the known names where nothing is near."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f'; did you mean {" or ".join(close)}?' if close else f'; known: {", ".join(sorted(known))}'


def reason_of(error: BaseException) -> str:
    """Return in one short line why something could not be read or fetched."""
    from PIL import UnidentifiedImageError  # here, because most who import this file read no images

    if isinstance(error, UnidentifiedImageError):
        return 'something else'
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return (str(error) or type(error).__name__).splitlines()[0]
