"""Facts of the machine that make long computations faster without changing their results."""

import ctypes
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_freed_memory() -> None:
    """Ask glibc to reuse freed memory instead of giving it back to the system.

    By default each large tensor is mapped and unmapped anew, and every first touch of a page is a fault: without them
    convolution training on CPU is 1.3 to 2 times faster. Memory in use stays at its peak. Does nothing without glibc.
    """
    if not sys.platform.startswith('linux'):
        return
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
