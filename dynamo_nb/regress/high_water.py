"""The maximum of the memory that processes use during a cell."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final

from dynamo_nb.supervisor.resource_usage import UsageMeter

PAUSE: Final = 0.25  # seconds between two readings; one takes some milliseconds


class HighWater:
    """Measures processes and their descendants in a thread, as a context manager.

    Args:
        pids: Returns the pids of the processes.

    Attributes:
        memory: Maximum of the resident memory so far, in bytes.
        gpu: Maximum of the memory on GPUs so far, in bytes.
    """

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        self.memory = self.gpu = 0
        self._pids = pids
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="high-water", daemon=True)

    def __enter__(self) -> HighWater:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        meter = UsageMeter()
        while True:
            found = meter.read(self._pids(), gpus=True).values()
            self.memory = max(self.memory, sum(one.memory for one in found))
            self.gpu = max(self.gpu, sum(one.gpu_memory or 0 for one in found))
            if self._stop.wait(PAUSE):
                return
