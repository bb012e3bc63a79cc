"""Allocates GPUs to workers.

A GPU on which another process has memory is not allocated. A lock file for each GPU keeps the deployments of one user
apart; the system releases the lock when the supervisor dies.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dynamo_nb.errors import PlacementError
from dynamo_nb.supervisor.ending_deployments import held_without_a_supervisor, holder_of_gpu
from dynamo_nb.supervisor.gpus import Gpu, Inventory, inventory

_WHOLE: Final = 1.0
_EPSILON: Final = 1e-9
_ONE_INSTANCE: Final = "; CUDA shows a process one MIG instance at most"


@dataclass
class GpuAllocator:
    """Allocates GPUs, whole or in shares. It alone knows which worker has which.

    Attributes:
        locks: folder of the lock files.
        read: returns the GPUs of this machine as they are now.
        owner: name of the deployment's owner in messages.
    """

    locks: Path
    read: Callable[[], Inventory] = inventory
    owner: str = ""
    _read: dict[str, Gpu] = field(default_factory=dict)
    _used: dict[str, dict[str, float]] = field(default_factory=dict)
    _locked: dict[str, int] = field(default_factory=dict)

    def take(self, worker: str, amount: float, prefer: Iterable[str] = ()) -> list[str]:
        """Allocates GPUs to a worker.

        Args:
            worker: its id.
            amount: number of whole GPUs, or a share of one.
            prefer: ids of the GPUs to take first.

        Returns:
            Ids of the GPUs.

        Raises:
            PlacementError: too few are free. It says who has which, and nothing is allocated.
        """
        if amount <= 0:
            return []
        prefer = list(prefer)
        share = min(amount, _WHOLE)
        count = max(1, round(amount))
        # Shares fill a GPU that is already shared before they take a whole one.
        found = self.read()
        order = sorted(
            found.gpus,
            key=lambda gpu: (gpu.id not in prefer, share >= _WHOLE or self._load(gpu) == 0, bool(gpu.owner_use)),
        )
        chosen: list[str] = []
        for gpu in order:
            if len(chosen) == count:
                break
            if count > 1 and gpu.is_instance:
                continue
            if self._load(gpu) + share <= _WHOLE + _EPSILON and self._lock(gpu):
                chosen.append(gpu.id)
        if len(chosen) < count:
            for gpu_id in chosen:
                self._unlock_if_idle(gpu_id)
            raise PlacementError(
                f"{worker} needs {amount:g} GPU, and {len(chosen)} can be allocated",
                where=self._describe(found) + _ONE_INSTANCE * (count > 1 and any(g.is_instance for g in found.gpus)),
                remedy="ask for fewer (ServiceArgs.resources.gpu, workers), or stop what uses them (`dynamo ps`)",
            )
        self._read |= {gpu.id: gpu for gpu in found.gpus}
        for gpu_id in chosen:
            self._used.setdefault(gpu_id, {})[worker] = share
        return chosen

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for users about GPUs of workers: GPUs that the owner of the deployment also uses, and others."""
        used = {gpu_id: (", ".join(users), self._read[gpu_id]) for gpu_id, users in self._used.items() if users}
        shared = [
            f"GPU {gpu_id} is used by {users}, and also by {self.owner or 'the owner'}: {gpu.owner_use}"
            for gpu_id, (users, gpu) in used.items()
            if gpu.owner_use
        ]
        return (*shared, *dict.fromkeys(gpu.warning for _, gpu in used.values() if gpu.warning))

    def free(self, worker: str) -> None:
        """Frees the GPUs of a worker."""
        for gpu_id, users in list(self._used.items()):
            if users.pop(worker, None) is not None:
                self._unlock_if_idle(gpu_id)

    def close(self) -> None:
        """Frees all GPUs."""
        self._used.clear()
        for gpu_id in list(self._locked):
            self._unlock_if_idle(gpu_id)

    @property
    def held(self) -> tuple[str, ...]:
        """Ids of the GPUs of which workers have at least a share."""
        return tuple(self._locked)

    def share_of(self, worker: str) -> float:
        """The number of GPUs that a worker has."""
        return sum(users.get(worker, 0.0) for users in self._used.values())

    def _load(self, gpu: Gpu) -> float:
        return sum(self._used.get(gpu.id, {}).values())

    def _lock(self, gpu: Gpu) -> bool:
        if gpu.id in self._locked:
            return True
        if gpu.busy:
            return False
        return self._lock_file(gpu)

    def _lock_file(self, gpu: Gpu) -> bool:
        """Locks a GPU against other deployments of this user. False if one has it."""
        if held_without_a_supervisor(gpu.id):
            return False
        self.locks.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(self.locks / gpu.id.replace("/", "_"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return False
        self._locked[gpu.id] = handle
        return True

    def _unlock_if_idle(self, gpu_id: str) -> None:
        if not self._used.get(gpu_id):
            self._used.pop(gpu_id, None)
            if (handle := self._locked.pop(gpu_id, None)) is not None:
                os.close(handle)

    def _describe(self, found: Inventory) -> str:
        reason = f" ({found.reason})" if found.reason else ""
        if not found.gpus:
            return f"this machine has no GPU{reason}"
        parts = []
        for gpu in found.gpus:
            users = ", ".join(self._used.get(gpu.id, {}))
            user = users or (gpu.busy or "free" if self._lock_file(gpu) else _holder(gpu.id))
            if not users:
                self._unlock_if_idle(gpu.id)
            parts.append(f"GPU {gpu.id}: {user}")
        return f"{len(found.gpus)} on this machine{reason}; " + "; ".join(parts)


def _holder(gpu_id: str) -> str:
    holder = holder_of_gpu(gpu_id)
    return f"the deployment {holder.id}" if holder is not None else "another deployment"
