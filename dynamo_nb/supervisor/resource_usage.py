"""Memory and CPU that workers use, on the machine and on its GPUs.

An engine keeps its weights in processes of its own, so a worker's usage includes all of its descendants.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from dynamo_nb.supervisor.gpus import memory_by_process

LONGEST_SPAN: Final = 10.0
"""Maximum of the seconds between two readings for a number for CPU. A mean over a longer time is not current."""

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """The resources that one worker uses.

    Attributes:
        memory: resident bytes.
        gpu_memory: bytes on GPUs; None where they are not known.
        cpu: percent of one core since the last reading, more than 100 on several cores; None if it is not known.
        cpu_seconds: seconds of CPU in all readings so far.
    """

    memory: int = 0
    gpu_memory: int | None = None
    cpu: float | None = None
    cpu_seconds: float = 0.0


class _Process(NamedTuple):
    """One process. started: distinguishes processes with one pid. cpu: seconds."""

    pid: int
    parent: int
    started: float
    memory: int
    cpu: float


class UsageMeter:
    """Measures the memory and CPU of workers. CPU is measured between two readings."""

    def __init__(self) -> None:
        self._at = 0.0
        self._processes: dict[tuple[int, float], float] = {}  # pid and start time -> seconds of CPU
        self._seconds: dict[int, float] = {}  # by worker

    def read(self, workers: Iterable[int], *, gpus: bool) -> dict[int, Usage]:
        """Returns the usage of each worker with all of its descendants.

        Reads every process of the machine once, which takes some milliseconds.

        Args:
            workers: pids.
            gpus: True to read the memory of GPUs too.

        Returns:
            The usage by pid.
        """
        before, known_until = self._processes, self._at
        processes = {process.pid: process for process in _processes()}
        self._at = time.monotonic()
        self._processes = {(process.pid, process.started): process.cpu for process in processes.values()}
        parents = {process.pid: process.parent for process in processes.values()}
        on_gpus, complete = memory_by_process() if gpus else ({}, False)
        pids = set(workers)
        memory_of, gpu_of, cpu_of = dict.fromkeys(pids, 0), dict.fromkeys(pids, 0), dict.fromkeys(pids, 0.0)
        for process in processes.values():
            owner = next((ancestor for ancestor in _ancestors(process.pid, parents) if ancestor in pids), None)
            if owner is not None:
                memory_of[owner] += process.memory
                gpu_of[owner] += on_gpus.get(process.pid, 0)
                cpu_of[owner] += process.cpu - before.get((process.pid, process.started), 0.0)
        span = self._at - known_until
        measured = self._seconds.keys() if span < LONGEST_SPAN else ()
        cpu = {pid: 100 * cpu_of[pid] / span for pid in pids if pid in measured}
        self._seconds = {pid: self._seconds.get(pid, 0.0) + cpu_of[pid] for pid in pids}
        return {
            pid: Usage(
                memory_of[pid], gpu_of[pid] or (0 if complete else None), cpu.get(pid), round(self._seconds[pid], 3)
            )
            for pid in pids
        }


def _processes() -> Iterator[_Process]:
    """Every process of the machine."""
    if not Path("/proc/self/stat").exists():
        for process in psutil.process_iter(["ppid", "memory_info", "cpu_times", "create_time"]):
            info = process.info
            memory, cpu = info["memory_info"], info["cpu_times"]  # None for a process of another user
            seconds = cpu.user + cpu.system if cpu is not None else 0.0
            resident = memory.rss if memory is not None else 0
            yield _Process(process.pid, info["ppid"] or 0, info["create_time"] or 0.0, resident, seconds)
        return
    for entry in os.scandir("/proc"):  # ten times as fast as psutil, which opens several files for each
        if entry.name.isdecimal():
            with suppress(OSError), open(entry.path + "/stat", "rb", 0) as stat:  # noqa: PTH123 (twice as fast)
                # The name in the second field may hold anything; the fourth is the parent, the 14th and 15th ticks of
                # CPU, the 22nd the start, the 24th pages of memory.
                fields = stat.read().rpartition(b")")[2].split()
                ticks = int(fields[11]) + int(fields[12])
                memory = int(fields[21]) * _PAGE
                yield _Process(int(entry.name), int(fields[1]), float(fields[19]), memory, ticks / _TICKS)


def _ancestors(pid: int, parents: dict[int, int]) -> Iterator[int]:
    """The process itself, its parent, and so on."""
    while pid > 1:
        yield pid
        pid = parents.get(pid, 0)
