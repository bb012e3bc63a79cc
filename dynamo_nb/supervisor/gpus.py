"""The GPUs of this machine and the processes that use them, from NVML.

`DYNAMO_GPUS=0,1,…` names an inventory for tests and shared machines.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        id: as in CUDA_VISIBLE_DEVICES.
        name: model of the GPU.
        busy: the processes that use it; "" when it is free.
    """

    id: str
    name: str = ""
    busy: str = ""


def inventory() -> list[Gpu]:
    """The GPUs of this machine that CUDA_VISIBLE_DEVICES allows; none without a driver."""
    if (named := os.environ.get("DYNAMO_GPUS")) is not None:
        return [Gpu(id=part.strip()) for part in named.split(",") if part.strip()]
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    ids = [part.strip() for part in allowed.split(",")] if allowed is not None else None
    with _nvml() as nvml:
        if nvml is None:
            return []
        indices = range(nvml.nvmlDeviceGetCount())
        return [_describe(nvml, index) for index in indices if ids is None or _is_named(nvml, index, ids)]


def memory_by_process() -> dict[int, int]:
    """Bytes that each process has on GPUs, by pid; empty without a driver."""
    used: dict[int, int] = {}
    with _nvml() as nvml:
        for index in range(nvml.nvmlDeviceGetCount() if nvml is not None else 0):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle):
                used[process.pid] = used.get(process.pid, 0) + (process.usedGpuMemory or 0)
    return used


@contextmanager
def _nvml() -> Iterator[Any]:
    """NVIDIA's library, opened; None without a driver."""
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


def _is_named(nvml: Any, index: int, ids: Iterable[str]) -> bool:
    """True if CUDA_VISIBLE_DEVICES names the GPU, by its number or by (the beginning of) its UUID."""
    uuid = str(nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(index)))
    return any(part == str(index) or (part.startswith("GPU-") and uuid.startswith(part)) for part in ids)


def _describe(nvml: Any, index: int) -> Gpu:
    import psutil

    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    users = []
    with suppress(nvml.NVMLError):
        for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle):
            visible = psutil.pid_exists(process.pid)
            name = psutil.Process(process.pid).name() if visible else "not visible here"
            users.append(f"process {process.pid} ({name})")
    name = nvml.nvmlDeviceGetName(handle)
    return Gpu(str(index), name.decode() if isinstance(name, bytes) else str(name), ", ".join(users))
