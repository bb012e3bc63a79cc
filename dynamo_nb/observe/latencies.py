"""Durations that were measured, counted in buckets: percentiles of any number of them, in constant room.

Buckets grow by a hundredth, so that a percentile is off by half of that at most, whatever its size (as with an HDR
histogram). Raw values would be exact, and 8 bytes each: a load of an hour that nobody watches would fill the memory.
Counts of two runs can be added, and percentiles of percentiles never arise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil, exp, log
from typing import Final

LEAST: Final = 1e-6
"""Seconds; what is shorter counts as this."""
GROWTH: Final = 1.01
_PER_LOG: Final = 1 / log(GROWTH)


class Latencies:
    """Counts durations in seconds. Written by one thread, and read by any."""

    __slots__ = ("_counts", "count", "greatest", "least", "total")

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self._counts = dict(counts or {})
        self.count = sum(self._counts.values())
        self.total = self.greatest = 0.0
        self.least = float("inf")

    def add(self, seconds: float) -> None:
        bucket = int(log(seconds / LEAST) * _PER_LOG) if seconds > LEAST else 0
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.count += 1
        self.total += seconds
        self.greatest = max(self.greatest, seconds)
        self.least = min(self.least, seconds)

    def copy(self) -> Latencies:
        other = Latencies(self._counts.copy())
        other.total, other.greatest, other.least = self.total, self.greatest, self.least
        return other

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    def percentiles(self, shares: Sequence[float]) -> list[float]:
        """Seconds within which these shares of the durations are: 0.99 gives p99. shares: rising, from 0 to 1."""
        if not self.count:
            return [0.0 for _ in shares]
        found, seen = [], 0
        buckets = iter(sorted(self._counts.items()))
        bucket = 0
        for share in shares:
            while seen < max(1, ceil(share * self.count)) and (following := next(buckets, None)) is not None:
                bucket, seen = following[0], seen + following[1]
            found.append(self.greatest if seen >= self.count and share >= 1 else self._middle(bucket))
        return found

    def percentile(self, share: float) -> float:
        return self.percentiles([share])[0]

    def _middle(self, bucket: int) -> float:
        middle = LEAST * exp((bucket + 0.5) / _PER_LOG)
        return min(max(middle, self.least), self.greatest)

    def __iter__(self) -> Iterator[tuple[float, int]]:
        """(seconds, count) of each bucket that holds something, rising."""
        return ((self._middle(bucket), count) for bucket, count in sorted(self._counts.items()))
