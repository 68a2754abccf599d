"""Errors that end in one clear line instead of a traceback, and helpers to phrase such lines."""

import difflib
import errno
from collections.abc import Iterable


class InputError(ValueError):
    """A mistake that the user can correct. The message says what was expected, what was found, and what to do."""


# A place that cannot be written: no other cell of a run can be recorded either.
_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENAMETOOLONG}


def unwritable(error: BaseException | None) -> str:
    """Return why a place could not be written, such as 'no space left on device: FILE', or '' for any other error.

    The error, or one that it came from, is an OSError whose number says so. An error about reading, which an `InputError`
    names, is none.
    """
    while error is not None and not isinstance(error, InputError):
        if isinstance(error, OSError) and error.errno in _UNWRITABLE:
            place = f': {error.filename}' if error.filename else ''
            return f'{reason_of(error)}{place}'
        error = error.__cause__ or error.__context__
    return ''


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
