"""The C library's heap, kept small: numbers are worked out in arrays of megabytes that come and go."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import functools

_ARENAS = 2
_M_ARENA_MAX = -8


def keep_small() -> None:
    """Let glibc keep two heaps instead of eight for each CPU: threads come and go here."""
    with contextlib.suppress(OSError, AttributeError):
        _c_library().mallopt(_M_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Give the system what is free in the heap; glibc would keep the pages between what is in use."""
    with contextlib.suppress(OSError, AttributeError):
        _c_library().malloc_trim(0)


@functools.cache
def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL(ctypes.util.find_library("c"))
