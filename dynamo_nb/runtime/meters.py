"""What a process counts of its requests: a Meter for each endpoint that it serves, and one for each that it calls.

A meter is written on one event loop, without a lock, and costs some hundred nanoseconds a request. It can be read from
any thread, so that a worker whose loop is blocked still tells what it has counted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from functools import reduce
from time import perf_counter
from typing import Any, Final

BOUNDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""Seconds, upper bounds of a histogram's buckets: from one call between processes to a long answer of a model."""

CANCELLED: Final = "cancelled"  # the caller wanted no more
CALLER_GONE: Final = "caller_gone"  # its connection ended

Reading = dict[str, Any]
"""Numbers by name, nested: what a meter has counted, as plain data."""


class Meter:
    """Counts the requests of one endpoint, seen from one end.

    Every request that was begun ends once: with an answer or an error (`end`), or because nobody waits for it any more
    (`stop`), which is no error. bytes_in, bytes_out, items (of streams): added to by whoever sees them pass, since a
    call for each would cost twice as much.
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
        self._seconds = [0] * (len(BOUNDS) + 1)
        self._first = [0] * (len(BOUNDS) + 1)
        self._sum = self._sum_first = 0.0

    def begin(self) -> float:
        """Gives the time that `first_item` and `end` ask for."""
        self._requests += 1
        return perf_counter()

    def first_item(self, begun: float) -> None:
        """The first item of a stream is there."""
        seconds = perf_counter() - begun
        self._first[bisect_left(BOUNDS, seconds)] += 1
        self._sum_first += seconds

    def end(self, begun: float, error: str = "") -> None:
        """The answer is complete. error: the code of the one that it ended with."""
        seconds = perf_counter() - begun
        self._seconds[bisect_left(BOUNDS, seconds)] += 1
        self._sum += seconds
        if error:
            self._errors[error] = self._errors.get(error, 0) + 1

    def stop(self, why: str) -> None:
        """Nobody waits for the answer any more. why: CANCELLED or CALLER_GONE."""
        self._stopped[why] = self._stopped.get(why, 0) + 1

    def read(self) -> Reading:
        seconds, first = _histogram(self._seconds, self._sum), _histogram(self._first, self._sum_first)
        stopped = self._stopped.copy()
        in_flight = self._requests - seconds["count"] - sum(stopped.values())
        return {
            "requests": self._requests,
            "in_flight": max(in_flight, 0),  # read while a request ended, it may be off by that one
            "errors": self._errors.copy(),
            "stopped": stopped,
            "items": self.items,
            "bytes": {"in": self.bytes_in, "out": self.bytes_out},
            "seconds": seconds,
            "first_item_seconds": first,
        }


def _histogram(counts: list[int], total: float) -> Reading:
    counts = counts.copy()
    return {"count": sum(counts), "sum": total, "counts": counts}


class Meters(dict[str, Meter]):
    """Meters by the path of their endpoint, `namespace/component/endpoint`; made when first asked for."""

    def __missing__(self, path: str) -> Meter:
        meter = self[path] = Meter()
        return meter

    def read(self) -> dict[str, Reading]:
        return {path: meter.read() for path, meter in self.copy().items()}


def total(readings: Iterable[Reading]) -> Reading:
    """The sum of readings of one shape, name by name."""
    return reduce(_added, readings, {})


def _added(one: Any, other: Any) -> Any:
    if isinstance(one, dict):
        return {**one, **{name: _added(one[name], value) if name in one else value for name, value in other.items()}}
    if isinstance(one, list):
        return [a + b for a, b in zip(one, other, strict=True)]
    return one + other
