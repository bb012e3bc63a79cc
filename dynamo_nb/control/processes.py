"""Processes of this machine: an identity that outlives the process, and signals to process groups."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import psutil

_POLL: Final = 0.5
"""Seconds between two checks of a process, on systems that do not report its end."""


@dataclass(frozen=True)
class ProcessId:
    """A process, distinct from a later one with the same pid. Steps of the system's clock do not change it.

    Attributes:
        pid: as the system numbers it.
        start: its start as the kernel notes it. On Linux the boot and the clock ticks since then, elsewhere the time.
    """

    pid: int
    start: str

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """Identifies the process that has this pid now. Raises psutil.NoSuchProcess."""
        return cls(pid, _read_process(pid)[1])

    @property
    def alive(self) -> bool:
        try:
            ended, start = _read_process(self.pid)
        except psutil.NoSuchProcess:
            return False
        return start == self.start and not ended

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


async def ended(pid: int) -> None:
    """Returns when no process has this pid, or the one that has it now has ended."""
    with suppress(psutil.NoSuchProcess):
        await ProcessId.of(pid).ended()


def _read_process(pid: int) -> tuple[bool, str]:
    """Returns if a process has ended without being reaped, and its start. Raises psutil.NoSuchProcess."""
    if not psutil.LINUX:
        process = psutil.Process(pid)
        return process.status() == psutil.STATUS_ZOMBIE, repr(process.create_time())
    # psutil adds the time of the boot, which the kernel computes from the current time: it moves with the clock.
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # the system may hide processes of other users
        raise psutil.NoSuchProcess(pid) from None
    fields = stat[stat.rindex(b")") + 2 :].split()  # a name may have spaces and parentheses; the state is field 3
    return fields[0] in {b"Z", b"X"}, f"{_boot()}/{int(fields[22 - 3]) - _boot_offset()}"


@cache
def _boot() -> str:
    """The id of the boot; "" if the system hides it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


@cache
def _boot_offset() -> int:
    """The clock ticks that the time namespace of this process adds to the start times of processes."""
    with suppress(OSError):  # a kernel without time namespaces
        for line in Path("/proc/self/timens_offsets").read_text().splitlines():
            clock, seconds, nanoseconds = line.split()
            if clock in {"boottime", "7"}:
                ticks = os.sysconf("SC_CLK_TCK")
                return int(seconds) * ticks + int(nanoseconds) * ticks // 10**9
    return 0


def kill_group(pid: int, signum: int = signal.SIGKILL) -> None:
    """Signals the process group that a worker leads. The group may outlive the worker itself."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signum)
