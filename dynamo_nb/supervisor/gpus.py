"""The GPUs that a deployment may use, and who uses them now.

`DYNAMO_GPUS=0,1,…` sets the inventory, on shared machines and for tests of placement.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from dynamo_nb.supervisor.nvml import Device, devices, fault
from dynamo_nb.supervisor.visible_gpus import entries, visible


@dataclass(frozen=True)
class Gpu:
    """One GPU, or a MIG instance of one.

    Attributes:
        id: as in CUDA_VISIBLE_DEVICES.
        name: model of the GPU.
        busy: other processes that use it; "" when it is free.
        owner_use: use by the owner of the deployment, such as a notebook; "" if none. The GPU is free nevertheless.
        warning: a possible problem, for users; "" for none.
    """

    id: str
    name: str = ""
    busy: str = ""
    owner_use: str = ""
    warning: str = ""

    @property
    def is_instance(self) -> bool:
        """True for a MIG instance. A CUDA process sees at most one of them, and none together with a whole GPU."""
        return self.id.startswith("MIG-")


@dataclass(frozen=True)
class Inventory:
    """The GPUs that a deployment may use.

    Attributes:
        gpus: in the order of CUDA.
        reason: why there are no more, for users; "" if nothing restricts them.
    """

    gpus: Sequence[Gpu] = ()
    reason: str = ""


def inventory(
    owner: int | None = None, supervisor: int | None = None, machine: Sequence[Device] | None = None
) -> Inventory:
    """The GPUs of this machine that CUDA_VISIBLE_DEVICES allows, now; none without a driver.

    Args:
        owner: pid of the process that serves, such as a notebook. A GPU that only it uses counts as free.
        supervisor: pid of the process whose descendants are the deployment's own.
        machine: all GPUs of the machine; None to read them.
    """
    reasons = [] if machine is not None else list(filter(None, [fault()]))
    machine = devices() if machine is None else machine
    if (named := os.environ.get("DYNAMO_GPUS")) is not None:
        ids, reason = _named(named)
        gpus = [_of_machine(name, machine, owner, supervisor) for name in ids]
        return Inventory(list({gpu.id: gpu for gpu in gpus}.values()), f"DYNAMO_GPUS={named}: {reason}" * bool(reason))
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is None:
        found = _parts(machine)
    else:
        found, reason = visible(allowed, machine)
        reasons.append(f"CUDA_VISIBLE_DEVICES={allowed}" + (f": {reason}" if reason else ""))
    reasons += [f"GPU {device.id} {device.unusable}" for device in found if device.unusable]
    warning = _of_order(allowed or "", machine)
    gpus = [_gpu(device, owner, supervisor, warning) for device in found if not device.unusable]
    return Inventory(gpus, "; ".join(reasons))


def memory_by_process(machine: Sequence[Device] | None = None) -> tuple[dict[int, int], bool]:
    """Bytes that each process has on GPUs, by pid, and if the driver has answered for all of them.

    Args:
        machine: all GPUs of the machine; None to read them.
    """
    used: dict[int, int] = {}
    machine = devices() if machine is None else machine
    complete = bool(machine)
    for device in _parts(machine):
        for pid, memory in (device.memory or {}).items():
            used[pid] = used.get(pid, 0) + (memory or 0)
            complete = complete and memory is not None
        complete = complete and device.memory is not None
    return used, complete


def _parts(machine: Sequence[Device]) -> list[Device]:
    """The devices that processes use: the GPUs, or the MIG instances of divided ones."""
    return [part for device in machine for part in device.instances or (device,)]


def _named(text: str) -> tuple[list[str], str]:
    """The ids of DYNAMO_GPUS. UUIDs of GPUs and MIG instances may stand side by side."""
    if any(part.strip().startswith(("GPU-", "MIG-")) for part in text.split(",")):
        ids = [part.strip() for part in text.split(",") if part.strip()]
        return list(dict.fromkeys(ids)), ""
    return entries(text)


def _of_machine(name: str, machine: Sequence[Device], owner: int | None, supervisor: int | None) -> Gpu:
    """The GPU with a name from DYNAMO_GPUS. The machine need not have it, for tests of placement."""
    found, _ = visible(name, machine)
    if not found:
        warning = f"DYNAMO_GPUS names {name}, which is not a GPU of this machine" if machine else ""
        return Gpu(name, warning=warning)
    warning = f"DYNAMO_GPUS names {name}, which {found[0].unusable}" if found[0].unusable else ""
    return _gpu(found[0], owner, supervisor, warning)


def _of_order(allowed: str, machine: Sequence[Device]) -> str:
    """A warning if numbers in CUDA_VISIBLE_DEVICES may mean other GPUs: by default CUDA counts the fastest first."""
    numbers = allowed.lstrip()[:1].isdigit()
    models = {device.name for device in machine}
    if not numbers or len(models) < 2 or os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID":
        return ""
    return (
        f"CUDA_VISIBLE_DEVICES={allowed} is read in the order of nvidia-smi; CUDA counts the fastest GPU first: "
        "set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name UUIDs"
    )


def _gpu(device: Device, owner: int | None, supervisor: int | None, warning: str = "") -> Gpu:
    others, by_owner = [], []
    for pid, memory in (device.memory or {}).items():
        line = _lineage(pid)
        if supervisor is not None and supervisor in line:
            continue
        size = f", {memory / 2**30:.1f} GiB" if memory else ""
        if owner is not None and owner in line:
            by_owner.append(f"process {pid} ({_name(pid)}{size})")
        else:
            others.append(f"process {pid} ({_name(pid)}{size})")
    return Gpu(device.id, device.name, ", ".join(others), ", ".join(by_owner), warning)


def _lineage(pid: int) -> list[int]:
    """A process and its ancestors; nothing for one that is not visible here, such as outside of this container."""
    try:
        process = psutil.Process(pid)
        return [pid, *(parent.pid for parent in process.parents())]
    except psutil.Error:
        return []


def _name(pid: int) -> str:
    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return "not visible here"
