"""How much goes through a deployment: rates and latencies of its services, endpoints and edges.

What a deployment counts only grows (`Deployment.metrics`), so a rate is a difference between two readings.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from typing import Any, Final

from dynamo_nb.runtime.meters import Reading, total

SPAN: Final = 3.0
"""Seconds that rates and latencies are taken over: enough calls for a median, and soon enough to see a change."""


@dataclass(frozen=True)
class Load:
    """The requests of something over the last seconds.

    rate, errors: a second. p50, p99: seconds to the whole answer, None where nothing ended. in_flight: at this moment.
    failed: all errors since the deployment began. items: of streams, a second.
    """

    rate: float = 0.0
    p50: float | None = None
    p99: float | None = None
    in_flight: int = 0
    errors: float = 0.0
    failed: int = 0
    items: float = 0.0


@dataclass(frozen=True)
class Traffic:
    """The load of services, of (service, endpoint), of (service, worker id), and of edges, (source, target).

    memory, gpu_memory: bytes, by worker id, of those that are known.
    """

    services: Mapping[str, Load] = field(default_factory=dict)
    endpoints: Mapping[tuple[str, str], Load] = field(default_factory=dict)
    workers: Mapping[tuple[str, str], Load] = field(default_factory=dict)
    edges: Mapping[tuple[str, str], Load] = field(default_factory=dict)
    memory: Mapping[str, int] = field(default_factory=dict)
    gpu_memory: Mapping[str, int] = field(default_factory=dict)


_Counts = dict[str, dict[Any, Reading]]


class TrafficWindow:
    """Makes Traffic of readings that come one after the other. span: seconds to look back."""

    def __init__(self, span: float = SPAN) -> None:
        self._span = span
        self._readings: deque[tuple[float, _Counts]] = deque()

    def add(self, numbers: Mapping[str, Any]) -> Traffic:
        """numbers: what `Deployment.metrics` gives. The first of them has no rates yet."""
        at, counts = numbers["at"], _counts(numbers)
        self._readings.append((at, counts))
        while len(self._readings) > 2 and self._readings[1][0] <= at - self._span:
            self._readings.popleft()
        before_at, before = self._readings[0]
        seconds = at - before_at
        loads = {
            kind: {key: _load(reading, before[kind].get(key, {}), seconds) for key, reading in readings.items()}
            for kind, readings in counts.items()
        }
        usage = {worker: used for s in numbers["services"].values() for worker, used in s["usage"].items()}
        return Traffic(
            **loads,
            memory={worker: used["memory"] for worker, used in usage.items() if used["memory"]},
            gpu_memory={worker: used["gpu_memory"] for worker, used in usage.items() if used["gpu_memory"] is not None},
        )


def _counts(numbers: Mapping[str, Any]) -> _Counts:
    services, endpoints, workers, edges = {}, {}, {}, {}
    for name, service in numbers["services"].items():
        by_endpoint: dict[str, list[Reading]] = {}
        for worker, served in service["workers"].items():
            for endpoint, reading in served.items():
                by_endpoint.setdefault(endpoint, []).append(reading)
            if served:
                workers[name, worker] = _sum(served.values())
        for endpoint, readings in by_endpoint.items():
            endpoints[name, endpoint] = _sum(readings)
        if by_endpoint:
            services[name] = _sum(endpoints[name, endpoint] for endpoint in by_endpoint)
    between: dict[tuple[str, str], list[Reading]] = {}
    for edge in numbers["edges"]:
        reading = {name: value for name, value in edge.items() if name not in {"source", "target", "endpoint"}}
        between.setdefault((edge["source"], edge["target"]), []).append(reading)
    edges = {ends: _sum(readings) for ends, readings in between.items()}
    return {"services": services, "endpoints": endpoints, "workers": workers, "edges": edges}


def _sum(readings: Iterable[Reading]) -> Reading:
    first, *others = readings
    return total([first, *others]) if others else first


def _load(now: Reading, before: Reading, seconds: float) -> Load:
    failed, failed_before = sum(now["errors"].values()), sum(before.get("errors", {}).values())
    buckets = now["seconds"]["buckets"]
    earlier = before.get("seconds", {}).get("buckets", {})
    new = {bound: count - earlier.get(bound, 0) for bound, count in buckets.items()}

    def a_second(name: str) -> float:
        return max(now[name] - before.get(name, 0), 0) / seconds if seconds > 0 else 0.0

    return Load(
        rate=a_second("requests"),
        p50=quantile(new, 0.5) if seconds > 0 else None,
        p99=quantile(new, 0.99) if seconds > 0 else None,
        in_flight=now["in_flight"],
        errors=max(failed - failed_before, 0) / seconds if seconds > 0 else 0.0,
        failed=failed,
        items=a_second("items"),
    )


def quantile(buckets: Mapping[str, int], q: float) -> float | None:
    """The value below which a share `q` lies, given cumulative counts by upper bound ("+Inf" the last).

    As Prometheus has it: spread evenly within a bucket, and the last bound for what lies above it. None for no counts.
    """
    bounds = [(0.0, 0), *((inf if bound == "+Inf" else float(bound), count) for bound, count in buckets.items())]
    wanted = q * bounds[-1][1]
    if not wanted:
        return None
    for (low, below), (high, count) in pairwise(bounds):
        if count >= wanted:
            return low if high == inf else low + (high - low) * (wanted - below) / (count - below)
    return None
