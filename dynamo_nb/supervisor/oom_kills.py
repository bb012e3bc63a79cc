"""Out-of-memory kills, from the counters of the Linux kernel."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
_NAME: Final = "oom_kill"


class OomKills:
    """Detects probable out-of-memory kills of processes.

    The kernel counts such kills in the cgroup of this process, the container's cgroup. It does not name the processes.

    Args:
        proc: the folder of procfs.
        cgroups: the folder of the cgroups.
    """

    def __init__(self, proc: Path = _PROC, cgroups: Path = _CGROUPS) -> None:
        self._files = [*_of_cgroup(proc, cgroups), proc / "vmstat"]
        self._seen = self._count()

    def forget(self) -> None:
        """Attributes all earlier kills to other processes."""
        self._seen = self._count()

    def take(self) -> bool:
        """Takes one kill that was neither taken nor forgotten. Returns False if there is none."""
        if self._count() <= self._seen:
            return False
        self._seen += 1
        return True

    def _count(self) -> int:
        for file in self._files:
            with suppress(OSError, ValueError):
                for line in file.read_text().splitlines():
                    name, _, number = line.partition(" ")
                    if name == _NAME:
                        return int(number)
        return 0


def exit_text(code: int, oom_kills: OomKills) -> str:
    """Returns the end of a process as a phrase: `with exit code 3`, `killed by signal 11 (SIGSEGV)`.

    Args:
        code: its exit code; the negative signal number if a signal killed it.
        oom_kills: detects an out-of-memory kill.
    """
    if code >= 0:
        return f"with exit code {code}"
    memory = ", probably because memory ran out" if code == -signal.SIGKILL and oom_kills.take() else ""
    name = signal.Signals(-code).name if -code in list(signal.Signals) else "unknown"
    return f"killed by signal {-code} ({name}){memory}"


def _of_cgroup(proc: Path, cgroups: Path) -> list[Path]:
    with suppress(OSError):
        for line in (proc / "self" / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                return [cgroups / path.lstrip("/") / "memory.events"]
            if "memory" in controllers.split(","):
                return [cgroups / "memory" / path.lstrip("/") / "memory.oom_control"]
    return []
