"""What workers start and leave behind, in sessions of its own too, which a signal to the worker's group does not reach.

On Linux the supervisor and every worker adopt what their descendants orphan. So all that a worker ever started stays
below it while it lives, and comes to the supervisor when it dies: nothing has to be found by its name.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Collection
from contextlib import suppress

import psutil

_PR_SET_CHILD_SUBREAPER = 36
_PASSES = 5
"""A process may start another while it is being killed."""
_LAST_BREATH = 1.0
"""Seconds for a killed process to end; one that holds a device can take longer, and is not waited for."""


def adopt_orphans() -> None:
    """Makes this process the parent of every descendant whose own parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_descendants(pid: int) -> None:
    """Kills everything below a process."""
    for _ in range(_PASSES):
        found = [p for p in psutil.Process(pid).children(recursive=True) if _lives(p)]
        if not found:
            return
        _kill(found)


async def bury_orphans(keep: Collection[int]) -> None:
    """Kills what this process has adopted, and waits for its end. keep: children of its own in another session."""
    for _ in range(_PASSES):
        orphans = [p for p in psutil.Process().children() if p.pid not in keep and _in_another_session(p)]
        if not orphans:
            return
        _kill(orphans)  # what they started is adopted next
        await asyncio.to_thread(psutil.wait_procs, orphans, _LAST_BREATH)


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
