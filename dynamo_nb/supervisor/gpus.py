"""Which GPUs a machine has, and which worker gets which.

`DYNAMO_GPUS=0,1,…` names an inventory for tests and shared machines; otherwise NVML is asked. A GPU on which another
process has memory is left alone. A lock file for each GPU keeps two deployments of one user apart; the kernel releases
it when the supervisor dies.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dynamo_nb.errors import PlacementError

_WHOLE = 1.0
_EPSILON = 1e-9


@dataclass(frozen=True)
class Gpu:
    """id: what CUDA_VISIBLE_DEVICES takes. busy: what else uses it; empty when it is free."""

    id: str
    name: str = ""
    busy: str = ""


def inventory() -> list[Gpu]:
    """The GPUs of this machine; none where there is no driver."""
    if (named := os.environ.get("DYNAMO_GPUS")) is not None:
        return [Gpu(id=part.strip()) for part in named.split(",") if part.strip()]
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
        ids = [part.strip() for part in allowed.split(",")] if allowed is not None else None
        return [_query(i) for i in range(pynvml.nvmlDeviceGetCount()) if ids is None or _named(i, ids)]
    finally:
        pynvml.nvmlShutdown()


def _named(index: int, ids: Iterable[str]) -> bool:
    """Whether CUDA_VISIBLE_DEVICES names a GPU, by its number or by (the beginning of) its UUID."""
    import pynvml

    uuid = str(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(index)))
    return any(part == str(index) or (part.startswith("GPU-") and uuid.startswith(part)) for part in ids)


def _query(index: int) -> Gpu:
    import psutil
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    users = []
    with suppress(pynvml.NVMLError):
        for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle):
            known = psutil.pid_exists(process.pid)
            users.append(f"process {process.pid} ({psutil.Process(process.pid).name() if known else 'not seen here'})")
    name: Any = pynvml.nvmlDeviceGetName(handle)
    return Gpu(str(index), name.decode() if isinstance(name, bytes) else str(name), ", ".join(users))


@dataclass
class Allocator:
    """Hands out GPUs; the only owner of who has what. `locks`: the folder of the lock files."""

    locks: Path
    gpus: list[Gpu] = field(default_factory=inventory)
    _used: dict[str, dict[str, float]] = field(default_factory=dict)
    _held: dict[str, int] = field(default_factory=dict)

    def take(self, worker: str, amount: float, prefer: Iterable[str] = ()) -> list[str]:
        """Gives `worker` its GPUs: `amount` whole ones, or a share of one. prefer: ids it had before.

        Raises PlacementError that says what there is and who has it; nothing is taken then.
        """
        if amount <= 0:
            return []
        prefer = list(prefer)
        share = min(amount, _WHOLE)
        count = max(1, round(amount))
        # Shares fill a GPU that is already shared before they break another one.
        order = sorted(self.gpus, key=lambda gpu: (gpu.id not in prefer, share >= _WHOLE or self._load(gpu) == 0))
        chosen: list[str] = []
        for gpu in order:
            if len(chosen) == count:
                break
            if self._load(gpu) + share <= _WHOLE + _EPSILON and self._hold(gpu):
                chosen.append(gpu.id)
        if len(chosen) < count:
            for gpu_id in chosen:
                self._release_if_idle(gpu_id)
            raise PlacementError(
                f"{worker} needs {amount:g} GPU and {len(chosen)} can be had",
                where=self._describe(),
                remedy="ask for fewer (ServiceArgs.resources.gpu, workers), or stop what uses them (`dynamo ps`)",
            )
        for gpu_id in chosen:
            self._used.setdefault(gpu_id, {})[worker] = share
        return chosen

    def free(self, worker: str) -> None:
        for gpu_id, users in list(self._used.items()):
            if users.pop(worker, None) is not None:
                self._release_if_idle(gpu_id)

    def share_of(self, worker: str) -> float:
        """How many GPUs a worker has."""
        return sum(users.get(worker, 0.0) for users in self._used.values())

    def _load(self, gpu: Gpu) -> float:
        return sum(self._used.get(gpu.id, {}).values())

    def _hold(self, gpu: Gpu) -> bool:
        if gpu.id in self._held:
            return True
        if gpu.busy:
            return False
        self.locks.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(self.locks / gpu.id.replace("/", "_"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return False
        self._held[gpu.id] = handle
        return True

    def _release_if_idle(self, gpu_id: str) -> None:
        if not self._used.get(gpu_id):
            self._used.pop(gpu_id, None)
            if (handle := self._held.pop(gpu_id, None)) is not None:
                os.close(handle)

    def _describe(self) -> str:
        if not self.gpus:
            return "this machine has no GPU"
        parts = []
        for gpu in self.gpus:
            users = ", ".join(self._used.get(gpu.id, {}))
            taken = users or gpu.busy or ("free" if self._hold(gpu) else "another deployment")
            if not users:
                self._release_if_idle(gpu.id)
            parts.append(f"GPU {gpu.id}: {taken}")
        return f"{len(self.gpus)} on this machine; " + "; ".join(parts)
