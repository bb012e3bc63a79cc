"""What the workers of a deployment use of the machine: memory, and memory of GPUs.

An engine keeps its weights in processes of its own, so everything below a worker counts as the worker's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    """memory: bytes that are resident. gpu_memory: bytes on GPUs, None where no GPU tells."""

    memory: int = 0
    gpu_memory: int | None = None


def usage(workers: Iterable[int], *, gpus: bool) -> dict[int, Usage]:
    """What each of these processes uses with all of its descendants, by process id.

    gpus: whether to ask the GPUs too. Looks once at every process of the machine: some milliseconds.
    """
    parents: dict[int, int] = {}
    resident: dict[int, int] = {}
    for pid, parent, memory in _processes():
        parents[pid], resident[pid] = parent, memory
    on_gpus = gpu_memory() if gpus else {}
    wanted = set(workers)
    memory_of = dict.fromkeys(wanted, 0)
    gpu_of = dict.fromkeys(wanted, 0)
    for pid, used in resident.items():
        owner = next((one for one in _line(pid, parents) if one in wanted), None)
        if owner is not None:
            memory_of[owner] += used
            gpu_of[owner] += on_gpus.get(pid, 0)
    return {pid: Usage(memory_of[pid], gpu_of[pid] if on_gpus else None) for pid in wanted}


def _processes() -> Iterator[tuple[int, int, int]]:
    """(process id, that of its parent, resident bytes) of every process."""
    if not Path("/proc/self/stat").exists():
        for process in psutil.process_iter(["ppid", "memory_info"]):
            memory = process.info["memory_info"]  # None for a process of somebody else
            yield process.pid, process.info["ppid"] or 0, memory.rss if memory is not None else 0
        return
    for entry in os.scandir("/proc"):  # ten times as fast as psutil, which opens several files for each
        if entry.name.isdecimal():
            with suppress(OSError), open(entry.path + "/stat", "rb", 0) as stat:  # noqa: PTH123 (twice as fast)
                # The name in the second field may hold anything; the fourth is the parent, the 24th pages of memory.
                fields = stat.read().rpartition(b")")[2].split()
                yield int(entry.name), int(fields[1]), int(fields[21]) * _PAGE


def _line(pid: int, parents: dict[int, int]) -> Iterator[int]:
    """A process, its parent, and so on."""
    while pid > 1:
        yield pid
        pid = parents.get(pid, 0)


def gpu_memory() -> dict[int, int]:
    """Bytes that each process has on GPUs, by process id; empty where no driver tells."""
    with nvml() as pynvml:
        if pynvml is None:
            return {}
        used: dict[int, int] = {}
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle):
                used[process.pid] = used.get(process.pid, 0) + (process.usedGpuMemory or 0)
        return used


@contextmanager
def nvml() -> Iterator[Any]:
    """NVIDIA's library while it is open; None where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()
