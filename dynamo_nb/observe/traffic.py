"""The load of a deployment: rates and latencies of its services, endpoints, workers and edges.

The counters of a deployment only grow (`Deployment.metrics`), so a rate is the difference between two readings.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dynamo_nb.runtime.meters import FINE_BOUNDS, Reading, total

SPAN: Final = 3.0
"""Seconds over which rates and latencies are computed: enough calls for a median, short enough to show a change."""


@dataclass(frozen=True)
class Load:
    """The requests of a service, endpoint, worker, edge or HTTP route in the last seconds.

    Attributes:
        rate: requests per second.
        p50: median seconds to the complete answer, None if no request ended.
        p99: 99th percentile of the same.
        in_flight: current requests.
        errors: errors per second.
        failed: errors since the deployment started.
        items: items of streams per second.
        statuses: for a route, number of answers since the deployment started, by status class, such as `2xx`.
    """

    rate: float = 0.0
    p50: float | None = None
    p99: float | None = None
    in_flight: int = 0
    errors: float = 0.0
    failed: int = 0
    items: float = 0.0
    statuses: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Traffic:
    """The load of a deployment.

    Attributes:
        services: numbers by name.
        endpoints: numbers by (service, endpoint).
        workers: numbers by (service, worker id).
        edges: numbers by (source, target).
        memory: bytes by worker id, where known.
        gpu_memory: bytes by worker id, where known.
        routes: loads by (service, route); a route is `GET /models`.
        cpu: percent of one core by worker id, where known.
    """

    services: Mapping[str, Load] = field(default_factory=dict)
    endpoints: Mapping[tuple[str, str], Load] = field(default_factory=dict)
    workers: Mapping[tuple[str, str], Load] = field(default_factory=dict)
    edges: Mapping[tuple[str, str], Load] = field(default_factory=dict)
    memory: Mapping[str, int] = field(default_factory=dict)
    gpu_memory: Mapping[str, int] = field(default_factory=dict)
    routes: Mapping[tuple[str, str], Load] = field(default_factory=dict)
    cpu: Mapping[str, float] = field(default_factory=dict)


_Counts = dict[str, dict[Any, Reading]]


class TrafficWindow:
    """Computes Traffic from successive readings.

    Args:
        span: seconds to look back.
    """

    def __init__(self, span: float = SPAN) -> None:
        self._span = span
        self._readings: deque[tuple[float, _Counts]] = deque()

    def add(self, numbers: Mapping[str, Any]) -> Traffic:
        """Adds a reading and returns the traffic. After the first reading all rates are 0.

        Args:
            numbers: result of `Deployment.metrics`.
        """
        at, counts = numbers["at"], _counts(numbers)
        self._readings.append((at, counts))
        while len(self._readings) > 2 and self._readings[1][0] <= at - self._span:
            self._readings.popleft()
        before_at, before = self._readings[0]
        seconds = at - before_at
        loads = {
            kind: {key: _load(reading, before[kind].get(key), seconds) for key, reading in readings.items()}
            for kind, readings in counts.items()
        }
        usage = {worker: used for s in numbers["services"].values() for worker, used in s["usage"].items()}
        return Traffic(
            **loads,
            memory={worker: used["memory"] for worker, used in usage.items() if used["memory"]},
            gpu_memory={worker: used["gpu_memory"] for worker, used in usage.items() if used["gpu_memory"] is not None},
            cpu={worker: used["cpu"] for worker, used in usage.items() if used.get("cpu") is not None},
        )


def _counts(numbers: Mapping[str, Any]) -> _Counts:
    services, endpoints, workers, edges, routes = {}, {}, {}, {}, {}
    for name, service in numbers["services"].items():
        by_route: dict[str, list[Reading]] = {}
        for answered in service.get("routes", {}).values():
            for route, reading in answered.items():
                by_route.setdefault(route, []).append(reading)
        routes.update({(name, route): _sum(readings) for route, readings in by_route.items()})
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
    return {"services": services, "endpoints": endpoints, "workers": workers, "edges": edges, "routes": routes}


def _sum(readings: Iterable[Reading]) -> Reading:
    first, *others = readings
    return total([first, *others]) if others else first


def _load(now: Reading, before: Reading | None, seconds: float) -> Load:
    failed, statuses = sum(now["errors"].values()), now.get("statuses", {})
    if before is None or seconds <= 0:
        return Load(in_flight=now["in_flight"], failed=failed, statuses=statuses)
    counts, earlier = now["seconds"]["counts"], before["seconds"]["counts"]
    new = {int(bucket): count - earlier.get(bucket, 0) for bucket, count in counts.items()}
    return Load(
        rate=max(now["requests"] - before["requests"], 0) / seconds,
        p50=quantile(new, 0.5),
        p99=quantile(new, 0.99),
        in_flight=now["in_flight"],
        errors=max(failed - sum(before["errors"].values()), 0) / seconds,
        failed=failed,
        items=max(now["items"] - before["items"], 0) / seconds,
        statuses=statuses,
    )


def quantile(counts: Mapping[int, int], q: float) -> float | None:
    """Returns the value below which a share of the values lies. Values are spread evenly within a bucket.

    Args:
        counts: number of values by index of their bucket, of `FINE_BOUNDS`.
        q: the share, from 0 to 1.

    Returns:
        The value, off by 3 % at most, or None if all counts are 0. For values above all bounds, the last bound.
    """
    rank, below = q * sum(counts.values()), 0
    if not rank:
        return None
    for bucket in sorted(counts):
        count = counts[bucket]
        if below + count >= rank and count:
            low = FINE_BOUNDS[bucket - 1] if bucket else 0.0
            high = FINE_BOUNDS[bucket] if bucket < len(FINE_BOUNDS) else low
            return low + (high - low) * (rank - below) / count
        below += count
    return None
