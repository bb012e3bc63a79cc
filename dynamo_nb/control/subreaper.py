"""Kills processes that workers left behind, including those in another session.

A signal to the process group of the worker does not reach another session.

On Linux the supervisor and every worker are subreapers: they adopt the orphans among their descendants. Everything that
a worker ever started is therefore below it while it lives, and below the supervisor when it has died. Nothing has to
be found by its name.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from typing import Final

import psutil

_PR_SET_CHILD_SUBREAPER: Final = 36
DEVICE_LIMIT: Final = 30.0
"""Seconds for a killed process to release its devices: freeing GPU memory can take seconds."""
_PASSES: Final = 5
"""A process may start another while it is being killed."""
_END_LIMIT: Final = 1.0
"""Seconds to wait for a killed process to end. One that holds a device can take longer, and is left."""


def adopt_orphans() -> None:
    """Makes this process the parent of every descendant whose own parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_descendants(pid: int) -> None:
    """Kills every process below a process."""
    for _ in range(_PASSES):
        found = [p for p in psutil.Process(pid).children(recursive=True) if _lives(p)]
        if not found:
            return
        _kill(found)


async def end_descendants(limit: float = DEVICE_LIMIT) -> None:
    """Kills all descendants of this process, and waits for their end: until then they hold ports and devices.

    Args:
        limit: seconds to wait.
    """
    own = psutil.Process()
    end = time.monotonic() + limit
    while (found := [p for p in own.children(recursive=True) if _lives(p)]) and time.monotonic() < end:
        _kill(found)
        await asyncio.to_thread(psutil.wait_procs, found, min(_END_LIMIT, max(end - time.monotonic(), 0)))


async def kill_adopted(keep: Collection[int]) -> None:
    """Kills the processes that this process has adopted, and waits for their end.

    Args:
        keep: pids of its own children in other sessions.
    """
    for _ in range(_PASSES):
        adopted = [p for p in psutil.Process().children() if p.pid not in keep and _in_another_session(p)]
        if not adopted:
            return
        _kill(adopted)  # their own children are adopted next
        await asyncio.to_thread(psutil.wait_procs, adopted, _END_LIMIT)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _in_another_session(process: psutil.Process) -> bool:
    try:
        return os.getsid(process.pid) != os.getsid(0)
    except OSError:
        return False


def _kill(processes: Collection[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
