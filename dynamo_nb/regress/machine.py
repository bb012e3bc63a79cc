"""The machine class. Measurements on machines of one class are comparable."""

from __future__ import annotations

import os
import platform
from collections import Counter
from functools import cache

from dynamo_nb.supervisor.nvml import devices


@cache
def machine_class() -> str:
    """Returns architecture, usable CPUs and GPUs of this machine, such as `x86_64, 2 CPUs, 1 NVIDIA H200`."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpus = Counter(device.name for device in devices())
    numbers = [f"{count} {name}" for name, count in sorted(gpus.items())]
    return ", ".join([platform.machine(), "1 CPU" if cpus == 1 else f"{cpus} CPUs", *numbers])
