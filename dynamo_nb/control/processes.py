"""Processes of this machine: an identity that outlives the process, and signals to process groups."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import psutil

_POLL: Final = 0.5
"""Seconds between two checks of a process, on systems that do not report its end."""


@dataclass(frozen=True)
class ProcessId:
    """A process, distinct from a later one with the same pid.

    Attributes:
        pid: as the system numbers it.
        created: seconds since the epoch.
    """

    pid: int
    created: float

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """Identifies the process that has this pid now. Raises psutil.NoSuchProcess."""
        return cls(pid, psutil.Process(pid).create_time())

    @property
    def alive(self) -> bool:
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.created) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    async def ended(self) -> None:
        """Returns when the process has ended."""
        loop, end = asyncio.get_running_loop(), asyncio.Event()
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        except (AttributeError, OSError):  # no pidfd on this system
            while self.alive:  # noqa: ASYNC110 (there is no event to wait for)
                await asyncio.sleep(_POLL)
            return
        try:
            if self.alive:
                loop.add_reader(descriptor, end.set)
                await end.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)


def kill_group(pid: int, signum: int = signal.SIGKILL) -> None:
    """Signals the process group that a worker leads. The group may outlive the worker itself."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signum)
