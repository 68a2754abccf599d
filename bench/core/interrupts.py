"""Interrupts: Ctrl-C, SIGTERM and SIGUSR1 (a scheduler's warning) end a command, a long loop first saves its state."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = ('SIGINT', 'SIGTERM', 'SIGUSR1')

_deferring = False
_asked = False


def install() -> None:
    """Turn the signals into KeyboardInterrupt from now on. One that is ignored, such as SIGINT under nohup, stays so."""
    for name in _SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and (name != 'SIGINT' or signal.getsignal(number) is not signal.SIG_IGN):
            signal.signal(number, _handle)


@contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """Defer the first interrupt in the block; yields a function that returns whether there was one.

    The block asks at moments when its state is whole, saves it, and raises KeyboardInterrupt. A second interrupt is not
    deferred. One that nobody asked for is raised at the end of the block.
    """
    global _deferring, _asked
    outer, _deferring, _asked = _deferring, True, False
    try:
        yield lambda: _asked
        if _asked:
            raise KeyboardInterrupt
    finally:
        _deferring = outer


def _handle(number: int, frame: FrameType | None) -> None:
    global _asked
    if _deferring and not _asked:
        _asked = True
        return
    raise KeyboardInterrupt
