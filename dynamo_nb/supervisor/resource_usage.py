"""Memory that workers use, on the machine and on its GPUs.

An engine keeps its weights in processes of its own, so a worker's usage includes all of its descendants.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from dynamo_nb.supervisor.gpus import memory_by_process

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    """Memory of one worker.

    Attributes:
        memory: resident bytes.
        gpu_memory: bytes on GPUs; None where they are not known.
    """

    memory: int = 0
    gpu_memory: int | None = None


def usage(workers: Iterable[int], *, gpus: bool) -> dict[int, Usage]:
    """Returns the resources that each worker uses with all of its descendants.

    Reads every process of the machine once, which takes some milliseconds.

    Args:
        workers: pids.
        gpus: True to read the memory of GPUs too.

    Returns:
        The usage by pid.
    """
    parents: dict[int, int] = {}
    resident: dict[int, int] = {}
    for pid, parent, memory in _processes():
        parents[pid], resident[pid] = parent, memory
    on_gpus, complete = memory_by_process() if gpus else ({}, False)
    pids = set(workers)
    memory_of = dict.fromkeys(pids, 0)
    gpu_of = dict.fromkeys(pids, 0)
    for pid, used in resident.items():
        owner = next((ancestor for ancestor in _ancestors(pid, parents) if ancestor in pids), None)
        if owner is not None:
            memory_of[owner] += used
            gpu_of[owner] += on_gpus.get(pid, 0)
    return {pid: Usage(memory_of[pid], gpu_of[pid] or (0 if complete else None)) for pid in pids}


def _processes() -> Iterator[tuple[int, int, int]]:
    """(pid, pid of the parent, resident bytes) of every process."""
    if not Path("/proc/self/stat").exists():
        for process in psutil.process_iter(["ppid", "memory_info"]):
            memory = process.info["memory_info"]  # None for a process of another user
            yield process.pid, process.info["ppid"] or 0, memory.rss if memory is not None else 0
        return
    for entry in os.scandir("/proc"):  # ten times as fast as psutil, which opens several files for each
        if entry.name.isdecimal():
            with suppress(OSError), open(entry.path + "/stat", "rb", 0) as stat:  # noqa: PTH123 (twice as fast)
                # The name in the second field may hold anything; the fourth is the parent, the 24th pages of memory.
                fields = stat.read().rpartition(b")")[2].split()
                yield int(entry.name), int(fields[1]), int(fields[21]) * _PAGE


def _ancestors(pid: int, parents: dict[int, int]) -> Iterator[int]:
    """The process itself, its parent, and so on."""
    while pid > 1:
        yield pid
        pid = parents.get(pid, 0)
