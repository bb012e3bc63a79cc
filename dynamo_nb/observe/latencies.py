"""A histogram of durations: percentiles of any number of them in constant memory.

Each bucket is 1 % wider than the one before, so a percentile is off by at most 0.5 % (as with an HDR histogram). Raw
values would be exact, but 8 bytes each: an hour of load would fill the memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, exp, log
from typing import Final

LEAST: Final = 1e-6
"""Seconds; shorter durations count as this."""
GROWTH: Final = 1.01
_PER_LOG: Final = 1 / log(GROWTH)


class Latencies:
    """Counts durations, in seconds. One thread writes, any thread may read."""

    __slots__ = ("_counts", "count", "greatest", "least", "total")

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self._counts = dict(counts or {})
        self.count = sum(self._counts.values())
        self.total = self.greatest = 0.0
        self.least = float("inf")

    def add(self, seconds: float) -> None:
        """Counts a duration."""
        bucket = int(log(seconds / LEAST) * _PER_LOG) if seconds > LEAST else 0
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.count += 1
        self.total += seconds
        self.greatest = max(self.greatest, seconds)
        self.least = min(self.least, seconds)

    def copy(self) -> Latencies:
        """Returns a copy that does not change."""
        other = Latencies(self._counts.copy())
        other.total, other.greatest, other.least = self.total, self.greatest, self.least
        return other

    @property
    def mean(self) -> float:
        """Mean in seconds; 0 without durations."""
        return self.total / self.count if self.count else 0.0

    def percentiles(self, shares: Sequence[float]) -> list[float]:
        """Returns the seconds that these shares of the durations do not exceed; 0.99 is p99.

        Args:
            shares: shares from 0 to 1, rising.
        """
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

    def _middle(self, bucket: int) -> float:
        middle = LEAST * exp((bucket + 0.5) / _PER_LOG)
        return min(max(middle, self.least), self.greatest)
