"""File descriptors of the supervisor: some are kept for the workers that it has to start and to follow."""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import Final

RESERVE: Final = 64
"""Descriptors that clients cannot use. The start of a worker takes about ten."""
_MOST: Final = 2**16
"""Enough for thousands of workers; some systems allow a thousand times more, for which programs allocate tables."""


def raise_limit() -> None:
    """Lets this process open as many files as it may. Processes that were started before keep the user's limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if 0 <= soft < most:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def in_reserve(descriptor: int) -> bool:
    """True if a new descriptor is one of the reserve: a process gets the lowest free number."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft != resource.RLIM_INFINITY and descriptor >= soft - RESERVE
