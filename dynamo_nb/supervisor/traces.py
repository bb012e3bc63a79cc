"""The spans of a deployment's traced requests, gathered from its workers when somebody asks for a trace.

Each worker keeps its own; what one tells at its end stays here, so that a worker that is replaced leaves its part.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from dynamo_nb.runtime.spans import RING
from dynamo_nb.supervisor.metrics import ANSWER_WITHIN
from dynamo_nb.supervisor.worker_process import WorkerProcess


class Traces:
    """Follows workers, on the supervisor's loop."""

    def __init__(self) -> None:
        self._followed: set[WorkerProcess] = set()
        self._ended: deque[dict[str, Any]] = deque(maxlen=RING)

    @contextmanager
    def following(self, worker: WorkerProcess) -> Iterator[None]:
        """As long as the worker can still tell something; then what it told at its end is kept."""
        self._followed.add(worker)
        try:
            yield
        finally:
            self._followed.discard(worker)
            self._ended.extend(_named(worker, worker.spans))

    async def gather(self, trace: str) -> list[dict[str, Any]]:
        """The spans of a trace, each with its `service` and `worker`; without those of workers that cannot answer."""

        async def of(worker: WorkerProcess) -> list[dict[str, Any]]:
            try:
                async with asyncio.timeout(ANSWER_WITHIN):
                    return list(_named(worker, await worker.spans_of(trace)))
            except TimeoutError:
                return []

        told = await asyncio.gather(*map(of, self._followed))
        return [span for span in self._ended if span["trace"] == trace] + [span for spans in told for span in spans]


def _named(worker: WorkerProcess, spans: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return ({**span, "service": worker.service, "worker": worker.id} for span in spans)
