"""The spans of a deployment's traced requests, collected from its workers when a client asks for a trace.

Each worker keeps its own spans. Those that it reports at its end stay here, so that a trace is complete after the
worker was replaced.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from dynamo_nb.runtime.spans import RING
from dynamo_nb.supervisor.lifeline import REPLY_LIMIT
from dynamo_nb.supervisor.worker_process import WorkerProcess


class Traces:
    """Collects the spans of workers, on the supervisor's loop."""

    def __init__(self) -> None:
        self._connected: set[WorkerProcess] = set()
        self._ended: deque[dict[str, Any]] = deque(maxlen=RING)

    @contextmanager
    def following(self, worker: WorkerProcess) -> Iterator[None]:
        """Includes the worker while it is connected. Keeps the spans that it reported at its end."""
        self._connected.add(worker)
        try:
            yield
        finally:
            self._connected.discard(worker)
            self._ended.extend(_labelled(worker, worker.lifeline.spans))

    async def gather(self, trace: str) -> list[dict[str, Any]]:
        """The spans of a trace, each with its `service` and `worker`; workers that do not reply in time are left out.

        Args:
            trace: its id.
        """

        async def ask(worker: WorkerProcess) -> list[dict[str, Any]]:
            try:
                async with asyncio.timeout(REPLY_LIMIT):
                    return list(_labelled(worker, await worker.lifeline.spans_of(trace)))
            except TimeoutError:
                return []

        replies = await asyncio.gather(*map(ask, self._connected))
        return [span for span in self._ended if span["trace"] == trace] + [span for spans in replies for span in spans]


def _labelled(worker: WorkerProcess, spans: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return ({**span, "service": worker.service, "worker": worker.id} for span in spans)
