"""The numbers of a deployment: what its workers have counted of their requests, gathered when somebody asks.

A worker tells its counts over its connection to the supervisor. Those of workers that have ended stay in the sums, as
those of one worker `ended`: as they were last told, which a worker that is stopped does at its end.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import accumulate
from math import inf
from typing import Any, Final

from dynamo_nb.errors import PlacementError
from dynamo_nb.runtime.meters import BOUNDS, Reading, total
from dynamo_nb.supervisor.fleet import Fleet
from dynamo_nb.supervisor.resource_usage import Usage, usage
from dynamo_nb.supervisor.worker_process import WorkerProcess

ANSWER_WITHIN: Final = 0.5
"""Seconds for workers to tell their counts. A thread of theirs does it: only a process that is stopped takes longer."""
USAGE_EVERY: Final = 1.0
"""Seconds between two looks at the memory of workers, at least: one is a walk through all processes of the machine."""
ENDED: Final = "ended"
_BACKLOG: Final = 16  # scrapes that may wait for the page's server to start
_BUCKETS: Final = (*map(str, BOUNDS), "+Inf")


class Metrics:
    """Follows the workers of a fleet, on the supervisor's loop."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._followed: set[WorkerProcess] = set()
        self._ended: dict[str, Reading] = {}
        self._usage: dict[int, Usage] = {}
        self._usage_at = -inf

    @contextmanager
    def following(self, worker: WorkerProcess) -> Iterator[None]:
        """As long as the worker can still tell something; then what it told last is kept."""
        self._followed.add(worker)
        try:
            yield
        finally:
            self._followed.discard(worker)
            kept = self._ended.get(worker.service, {})
            self._ended[worker.service] = total([kept, _at_rest(worker.measured)])

    async def gather(self) -> None:
        """Asks every worker; of those that do not answer in time, what they told last stands."""
        asked = [asyncio.create_task(worker.measure()) for worker in self._followed]
        if asked:
            _, late = await asyncio.wait(asked, timeout=ANSWER_WITHIN)
            for task in late:
                task.cancel()
        if time.monotonic() - self._usage_at >= USAGE_EVERY:
            self._usage_at = time.monotonic()
            pids = [worker.pid for worker in self._followed if worker.pid]
            gpus = any(worker.gpus for worker in self._followed)
            self._usage = await asyncio.to_thread(usage, pids, gpus=gpus)

    def numbers(self) -> dict[str, Any]:
        """`services` (their workers, and the requests that each served by endpoint) and `edges` (calls between them).

        An edge is seen from the caller's side, whichever of its workers called. Counts are since the deployment began.
        `at`: when they were read, in seconds of a clock that never goes back.
        """
        services: dict[str, Any] = {}
        for name, status in self._fleet.status().items():
            if status.started:
                services[name] = {
                    "ready": status.ready,
                    "desired": status.desired,
                    "restarts": {w.id: w.restarts for w in status.workers},
                    "usage": {w.id: asdict(self._usage.get(w.pid, Usage())) for w in status.workers},
                    "workers": {},
                }
        told = [(worker.service, worker.id, worker.measured) for worker in self._followed]
        told += [(service, ENDED, measured) for service, measured in self._ended.items()]
        called: list[tuple[str, Reading]] = []
        for service, worker_id, measured in sorted(told, key=lambda one: one[:2]):
            known = services.setdefault(service, {"ready": 0, "desired": 0, "restarts": {}, "usage": {}, "workers": {}})
            served = known["workers"].setdefault(worker_id, {})
            for component, endpoints in measured.get("served", {}).items():
                own = component == service  # and not one more that it has registered by hand
                served |= {n if own else f"{component}/{n}": _shown(reading) for n, reading in endpoints.items()}
            called.append((service, measured.get("called", {})))
        edges = []
        for source in dict.fromkeys(service for service, _ in called):
            for target, endpoints in total([reading for service, reading in called if service == source]).items():
                for endpoint, reading in endpoints.items():
                    edges.append({"source": source, "target": target, "endpoint": endpoint, **_shown(reading)})
        return {"at": time.monotonic(), "services": services, "edges": edges}


def _at_rest(measured: Reading) -> Reading:
    """Of a worker that has ended: what it had in hand is in nobody's hand."""
    return {
        name: 0 if name == "in_flight" else _at_rest(value) if isinstance(value, dict) else value
        for name, value in measured.items()
    }


def _shown(reading: Reading) -> Reading:
    """Histograms with cumulative counts by upper bound, in seconds, as Prometheus has them."""
    shown = dict(reading)
    for name in ("seconds", "first_item_seconds"):
        histogram = reading[name]
        buckets = dict(zip(_BUCKETS, accumulate(histogram["counts"]), strict=True))
        shown[name] = {"count": histogram["count"], "sum": histogram["sum"], "buckets": buckets}
    return shown


def listening(host: str, port: int) -> socket.socket:
    """The socket of the page, where connections wait for its server; 0 for a free port. Raises PlacementError."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=_BACKLOG
        )
    except OSError as error:
        raise PlacementError(
            f"the page of metrics cannot be served: {error.strerror or error}",
            where=f"{host}:{port}",
            remedy="choose another port with --metrics-port (0 takes a free one) or DYNAMO_METRICS_PORT",
        ) from None


def address(page: socket.socket) -> str:
    """The URL of the page."""
    host, port = page.getsockname()[:2]
    return f"http://[{host}]:{port}/metrics" if ":" in host else f"http://{host}:{port}/metrics"
