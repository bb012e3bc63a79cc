"""Meters: what a process counts of the requests that it serves and calls, one meter for each endpoint.

A meter is written on one event loop, without a lock, and costs some hundred nanoseconds per request. It can be read
from any thread, so that a worker with a blocked loop still reports its counts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from itertools import pairwise
from math import ceil, log, log1p
from time import perf_counter
from typing import Any, Final

BOUNDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""Upper bounds of the buckets for Prometheus, in seconds: from a call between processes to a long answer of a model."""
_LEAST, _GREATEST = 1e-6, 3600.0
_WIDTH = 0.03


def _fine_bounds() -> Iterator[float]:
    """BOUNDS, and between them bounds of which each is at most `_WIDTH` greater than the one before."""
    yield _LEAST
    for low, high in pairwise((_LEAST, *BOUNDS, _GREATEST)):
        steps = ceil(log(high / low) / log1p(_WIDTH))
        yield from (low * (high / low) ** (i / steps) for i in range(1, steps))
        yield high


FINE_BOUNDS: Final = tuple(_fine_bounds())
"""Upper bounds of the buckets that are counted, in seconds. A percentile read from them is off by 3 % at most."""

CANCELLED: Final = "cancelled"  # the caller cancelled the request
CALLER_GONE: Final = "caller_gone"  # the caller's connection ended

Reading = dict[str, Any]
"""The counts of a meter as plain data: numbers by name, nested."""


class Meter:
    """Counts the requests of one endpoint, as seen from one end.

    Each request that has begun ends once: with an answer or an error (`end`), or without either because the answer is
    no longer needed (`stop`), which is not an error.

    Attributes:
        items: Number of items of streams. This and the two below are increased by the code that sees them pass: a
            method call for each would cost twice as much.
        bytes_in: Bytes received.
        bytes_out: Bytes sent.
    """

    __slots__ = (
        "_errors",
        "_first",
        "_requests",
        "_seconds",
        "_stopped",
        "_sum",
        "_sum_first",
        "bytes_in",
        "bytes_out",
        "items",
    )

    def __init__(self) -> None:
        self._requests = self.items = self.bytes_in = self.bytes_out = 0
        self._errors: dict[str, int] = {}
        self._stopped: dict[str, int] = {}
        self._seconds = [0] * (len(FINE_BOUNDS) + 1)
        self._first = [0] * (len(FINE_BOUNDS) + 1)
        self._sum = self._sum_first = 0.0

    def begin(self) -> float:
        """Counts a new request. Returns its start time, an argument of `first_item` and `end`."""
        self._requests += 1
        return perf_counter()

    def first_item(self, start: float) -> None:
        """Counts the first item of a stream."""
        seconds = perf_counter() - start
        self._first[bisect_left(FINE_BOUNDS, seconds)] += 1
        self._sum_first += seconds

    def end(self, start: float, error: str = "") -> None:
        """Counts the end of a request. error: the code of the error that ended it."""
        seconds = perf_counter() - start
        self._seconds[bisect_left(FINE_BOUNDS, seconds)] += 1
        self._sum += seconds
        if error:
            self._errors[error] = self._errors.get(error, 0) + 1

    def stop(self, reason: str) -> None:
        """Counts a request whose answer is no longer needed. reason: CANCELLED or CALLER_GONE."""
        self._stopped[reason] = self._stopped.get(reason, 0) + 1

    def read(self) -> Reading:
        """Returns the counts. Safe from any thread."""
        seconds, first = _histogram(self._seconds, self._sum), _histogram(self._first, self._sum_first)
        stopped = self._stopped.copy()
        in_flight = self._requests - seconds["count"] - sum(stopped.values())
        return {
            "requests": self._requests,
            "in_flight": max(in_flight, 0),  # may be off by a request that ends at this moment
            "errors": self._errors.copy(),
            "stopped": stopped,
            "items": self.items,
            "bytes": {"in": self.bytes_in, "out": self.bytes_out},
            "seconds": seconds,
            "first_item_seconds": first,
        }


def _histogram(counts: list[int], total: float) -> Reading:
    """Returns the counts of the buckets that are not empty, by the index of the bucket as text, as JSON needs it."""
    filled = {str(bucket): count for bucket, count in enumerate(counts.copy()) if count}
    return {"count": sum(filled.values()), "sum": total, "counts": filled}


def cumulative(counts: Mapping[str, int]) -> dict[str, int]:
    """Returns the number of durations up to each of BOUNDS, and up to "+Inf", as Prometheus needs it.

    Args:
        counts: The `counts` of a reading's histogram.
    """
    filled = sorted((int(bucket), count) for bucket, count in counts.items())
    ends = [*(bisect_left(FINE_BOUNDS, bound) for bound in BOUNDS), len(FINE_BOUNDS)]
    names = (*map(str, BOUNDS), "+Inf")
    return {
        name: sum(count for bucket, count in filled if bucket <= end) for name, end in zip(names, ends, strict=True)
    }


class Meters(dict[str, Meter]):
    """Meters by the path of their endpoint, `namespace/component/endpoint`. A missing meter is created."""

    def __missing__(self, path: str) -> Meter:
        meter = self[path] = Meter()
        return meter

    def read(self) -> dict[str, Reading]:
        """Returns the counts of all meters. Safe from any thread."""
        return {path: meter.read() for path, meter in self.copy().items()}


def total(readings: Iterable[Reading]) -> Reading:
    """Returns the sum of readings, name by name. Readings of one kind have the same structure."""
    return reduce(_added, readings, {})


def _added(one: Any, other: Any) -> Any:
    if isinstance(one, dict):
        return {**one, **{name: _added(one[name], value) if name in one else value for name, value in other.items()}}
    return one + other
