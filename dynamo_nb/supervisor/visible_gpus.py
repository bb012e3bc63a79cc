"""The rules of CUDA_VISIBLE_DEVICES, as CUDA and torch read it.

Either numbers or UUIDs are read, as the first entry decides. The order counts. The first entry that names no GPU ends
the list. A GPU that is named twice leaves no GPU at all.
(https://docs.nvidia.com/cuda/cuda-c-programming-guide/index.html#env-vars)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from dynamo_nb.supervisor.nvml import Device

_NUMBER: Final = re.compile(r"\s*([+-]?[0-9]+)")
_UUIDS: Final = ("GPU-", "MIG-")


def entries(text: str) -> tuple[list[str], str]:
    """Reads a list without a look at the machine.

    Returns:
        The numbers or the beginnings of UUIDs, up to the first entry that is neither, and why no more or "".
    """
    parts = text.split(",")
    kind = next((kind for kind in _UUIDS if text.startswith(kind)), "")
    found: list[str] = []
    for part in parts:
        number = _NUMBER.match(part)
        entry = part if kind else str(int(number[1])) if number else ""
        if entry in found:
            return [], f"{entry} is named twice, for which CUDA shows no GPU"
        if not (entry.startswith(kind) if kind else entry and not entry.startswith("-")):
            ignored = ",".join(parts[len(found) :]).strip()
            return found, f"{ignored!r} is ignored, as CUDA does from the first entry that names no GPU" * bool(ignored)
        found.append(entry)
    return found, ""


def visible(text: str, devices: Sequence[Device]) -> tuple[list[Device], str]:
    """The devices that CUDA shows, in its order.

    Args:
        text: value of CUDA_VISIBLE_DEVICES.
        devices: GPUs of this machine, by number.

    Returns:
        The devices, and why no more or "".
    """
    named, reason = entries(text)
    found: list[Device] = []
    for position, entry in enumerate(named):
        device = _device(entry, devices)
        if device is None:
            rest = ",".join(named[position:])
            return found, f"{rest!r} is ignored, as CUDA does from the first entry that names no GPU of this machine"
        if device in found:
            return [], f"{entry} names a GPU for the second time, for which CUDA shows no GPU"
        found.append(device)
    return found, reason


def _device(entry: str, devices: Sequence[Device]) -> Device | None:
    if entry.startswith("MIG-"):
        candidates = [instance for device in devices for instance in device.instances]
    elif entry.startswith("GPU-"):
        candidates = list(devices)
    else:
        candidates = [device for device in devices if device.id == entry]
        entry = ""
    named = [device for device in candidates if device.uuid.startswith(entry)]
    if len(named) != 1:
        return None
    return named[0].instances[0] if named[0].instances else named[0]  # of a divided GPU CUDA shows the first instance
