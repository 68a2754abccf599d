"""Errors that end in one clear line instead of a traceback, and helpers to phrase such lines."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A mistake that the user can correct. The message says what was expected, what was found, and what to do."""


def near(name: str, known: Iterable[str]) -> str:
    """Return a hint such as `; did you mean lgm?`, or the list of known names if none is similar."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f'; did you mean {" or ".join(close)}?' if close else f'; known: {", ".join(sorted(known))}'


def reason_of(error: BaseException) -> str:
    """Return one short line that says why something could not be read or downloaded."""
    from PIL import UnidentifiedImageError  # imported here, because most importers of this file read no images

    if isinstance(error, UnidentifiedImageError):
        return 'something else'
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return (str(error) or type(error).__name__).splitlines()[0]
