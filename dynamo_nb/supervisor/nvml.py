"""The GPUs of this machine and the processes on them, as the driver's library NVML answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

_PROHIBITED: Final = 2
"""The compute mode in which no process can use a GPU: NVML_COMPUTEMODE_PROHIBITED."""


@dataclass(frozen=True)
class Device:
    """A GPU or a MIG instance of one.

    Attributes:
        id: as in CUDA_VISIBLE_DEVICES: the number of a GPU, the UUID of an instance.
        uuid: as in CUDA_VISIBLE_DEVICES too.
        name: model.
        memory: bytes that each process has on it, by pid, None where the driver does not say; None if it refuses the
            list of processes.
        instances: its MIG instances; empty for an instance and for a GPU that is not divided.
        unusable: the reason why CUDA cannot use it, as a phrase; "" if CUDA can.
    """

    id: str
    uuid: str = ""
    name: str = ""
    memory: Mapping[int, int | None] | None = None
    instances: tuple[Device, ...] = ()
    unusable: str = ""


def devices(library: Any = None) -> list[Device]:
    """Every GPU of this machine, by number; none without a driver. One that does not answer is left out.

    Args:
        library: the module `pynvml`, or what answers like it.
    """
    with _opened(library) as nvml:
        if nvml is None:
            return []
        numbers = range(_answer(nvml, 0, "nvmlDeviceGetCount"))
        handles = [(number, _answer(nvml, None, "nvmlDeviceGetHandleByIndex", number)) for number in numbers]
        return [
            _device(nvml, handle, str(number), tuple(_instances(nvml, handle)))
            for number, handle in handles
            if handle is not None
        ]


def fault(library: Any = None) -> str:
    """Returns a message for users if the driver does not answer; "" if it answers, and on a machine without a driver.

    Args:
        library: see `devices`.
    """
    if library is None:
        import pynvml

        library = pynvml
    try:
        library.nvmlInit()
    except library.NVMLError_LibraryNotFound:
        return ""
    except library.NVMLError as error:
        return f"the NVIDIA driver does not answer: {error}"
    with suppress(library.NVMLError):
        library.nvmlShutdown()
    return ""


def _instances(nvml: Any, handle: Any) -> Iterator[Device]:
    for number in range(_answer(nvml, 0, "nvmlDeviceGetMaxMigDeviceCount", handle)):
        instance = _answer(nvml, None, "nvmlDeviceGetMigDeviceHandleByIndex", handle, number)
        if instance is not None and (uuid := _text(nvml, "nvmlDeviceGetUUID", instance)):
            yield _device(nvml, instance, uuid)


def _device(nvml: Any, handle: Any, device_id: str, instances: tuple[Device, ...] = ()) -> Device:
    processes = _answer(nvml, None, "nvmlDeviceGetComputeRunningProcesses", handle)
    return Device(
        id=device_id,
        uuid=_text(nvml, "nvmlDeviceGetUUID", handle),
        name=_text(nvml, "nvmlDeviceGetName", handle),
        memory=None if processes is None else {process.pid: process.usedGpuMemory for process in processes},
        instances=instances,
        unusable=_unusable(nvml, handle, instances),
    )


def _unusable(nvml: Any, handle: Any, instances: tuple[Device, ...]) -> str:
    current, _ = _answer(nvml, (0, 0), "nvmlDeviceGetMigMode", handle)
    if current and not instances:
        return "is in MIG mode and has no instance"
    if _answer(nvml, 0, "nvmlDeviceGetComputeMode", handle) == _PROHIBITED:
        return "is in the compute mode PROHIBITED"
    return ""


def _text(nvml: Any, call: str, handle: Any) -> str:
    answer = _answer(nvml, "", call, handle)
    return answer.decode(errors="replace") if isinstance(answer, bytes) else str(answer)


def _answer(nvml: Any, default: Any, call: str, *args: Any) -> Any:
    """The answer to a call, or a default where the driver refuses it, as for want of a permission."""
    with suppress(nvml.NVMLError):
        return getattr(nvml, call)(*args)
    return default


@contextmanager
def _opened(library: Any) -> Iterator[Any]:
    """The library, opened; None without a driver."""
    if library is None:
        import pynvml

        library = pynvml
    try:
        library.nvmlInit()
    except library.NVMLError:
        yield None
        return
    try:
        yield library
    finally:
        with suppress(library.NVMLError):
            library.nvmlShutdown()
