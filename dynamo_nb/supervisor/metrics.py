"""Collects a deployment's metrics: request counts, worker numbers, memory and CPU.

A worker reports its counts over its connection to the supervisor. The counts of workers that have ended stay in the
sums, as those of one worker `ended`: the last that each reported, which is at its end for a worker that was stopped.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from math import inf
from typing import Any, Final

from dynamo_nb.runtime.meters import Reading, cumulative, total
from dynamo_nb.supervisor.lifeline import REPLY_LIMIT
from dynamo_nb.supervisor.registry import WorkerRegistry
from dynamo_nb.supervisor.resource_usage import Usage, UsageMeter
from dynamo_nb.supervisor.service_errors import ServiceErrors
from dynamo_nb.supervisor.worker_process import WorkerProcess

USAGE_PAUSE: Final = 1.0
"""Minimum of the seconds between two readings of memory and CPU. One reading reads all processes of the machine."""
FIRST_USAGE_PAUSE: Final = 0.3
"""Minimum of the seconds between the first two readings. The first number for CPU needs two readings."""
ENDED: Final = "ended"


class Metrics:
    """Collects the counts of the workers in a registry, on the supervisor's loop.

    Args:
        registry: registry of the workers.
        errors: the errors of their services.
    """

    def __init__(self, registry: WorkerRegistry, errors: ServiceErrors) -> None:
        self._registry, self._errors = registry, errors
        self._meter = UsageMeter()
        self._connected: set[WorkerProcess] = set()
        self._ended: dict[str, Reading] = {}
        self._usage: dict[int, Usage] = {}
        self._usage_at = -inf

    @contextmanager
    def following(self, worker: WorkerProcess) -> Iterator[None]:
        """Includes the worker while it is connected. Adds its last report to those of ended workers afterwards."""
        self._connected.add(worker)
        try:
            yield
        finally:
            self._connected.discard(worker)
            before = self._ended.get(worker.service, {})
            self._ended[worker.service] = total([before, _at_rest(worker.lifeline.measured)])

    async def read(self) -> dict[str, Any]:
        """The counts since the deployment began.

        Workers that do not reply in time are counted as they last reported.

        Returns:
            `services`: by name, with the requests that each worker served, by endpoint and by HTTP route. `edges`:
            calls between services, counted at the caller, over all of its workers. `at`: time of the reading, in
            seconds of a monotonic clock. `error_reports`: a number that grows when the recorded errors change.
        """
        await self.ask_workers()
        services: dict[str, Any] = {}
        for name, status in self._registry.status().items():
            if status.started:
                services[name] = {
                    "ready": status.ready,
                    "desired": status.desired,
                    "restarts": {w.id: w.restarts for w in status.workers},
                    "usage": {w.id: asdict(self._usage.get(w.pid, Usage())) for w in status.workers},
                    "workers": {},
                    "routes": {},
                }
        reported = [(worker.service, worker.id, worker.lifeline.measured) for worker in self._connected]
        reported += [(service, ENDED, measured) for service, measured in self._ended.items()]
        called: list[tuple[str, Reading]] = []
        for service, worker_id, measured in sorted(reported, key=lambda row: row[:2]):
            known = services.setdefault(
                service, {"ready": 0, "desired": 0, "restarts": {}, "usage": {}, "workers": {}, "routes": {}}
            )
            served = known["workers"].setdefault(worker_id, {})
            for component, endpoints in measured.get("served", {}).items():
                own = component == service  # else one that its code registered by hand
                served |= {n if own else f"{component}/{n}": _cumulative(r) for n, r in endpoints.items()}
            if routes := measured.get("routes"):
                known["routes"][worker_id] = {route: _cumulative(reading) for route, reading in routes.items()}
            called.append((service, measured.get("called", {})))
        edges = []
        for source in dict.fromkeys(service for service, _ in called):
            for target, endpoints in total([reading for service, reading in called if service == source]).items():
                for endpoint, reading in endpoints.items():
                    edges.append({"source": source, "target": target, "endpoint": endpoint, **_cumulative(reading)})
        return {
            "at": time.monotonic(),
            "services": services,
            "edges": edges,
            "error_reports": self._errors.changes,
        }

    async def ask_workers(self) -> None:
        """Returns when the workers have reported their counts and errors, at the latest after REPLY_LIMIT."""
        replies = [asyncio.create_task(worker.lifeline.measure()) for worker in self._connected]
        if replies:
            _, late = await asyncio.wait(replies, timeout=REPLY_LIMIT)
            for task in late:
                task.cancel()
        known = all(usage.cpu is not None for usage in self._usage.values())
        if time.monotonic() - self._usage_at >= (USAGE_PAUSE if known else FIRST_USAGE_PAUSE):
            self._usage_at = time.monotonic()
            pids = [worker.pid for worker in self._connected if worker.pid]
            gpus = any(worker.gpus for worker in self._connected)
            self._usage = await asyncio.to_thread(self._meter.read, pids, gpus=gpus)


def _at_rest(measured: Reading) -> Reading:
    """The reading of a worker that has ended: none of its requests is in flight."""
    return {
        name: 0 if name == "in_flight" else _at_rest(value) if isinstance(value, dict) else value
        for name, value in measured.items()
    }


def _cumulative(reading: Reading) -> Reading:
    """The reading with cumulative histograms too, by upper bound in seconds, as in Prometheus."""
    histograms = {name: reading[name] for name in ("seconds", "first_item_seconds")}
    return reading | {name: one | {"buckets": cumulative(one["counts"])} for name, one in histograms.items()}
