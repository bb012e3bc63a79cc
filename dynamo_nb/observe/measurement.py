"""The measurements of a load, as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from dynamo_nb.observe.latencies import Latencies
from dynamo_nb.observe.units import digits, duration

SHARES: Final = (0.5, 0.9, 0.99, 0.999)
NAMES: Final = ("p50", "p90", "p99", "p99.9", "max")
_CURVE: Final = (
    *(n / 20 for n in range(19)),
    0.92,
    0.94,
    0.96,
    0.97,
    0.98,
    0.99,
    0.995,
    0.998,
    0.999,
    0.9995,
    0.9999,
    1.0,
)


@dataclass(frozen=True)
class Percentiles:
    """Percentiles of durations, in seconds.

    Attributes:
        count: number of durations.
        mean: their mean.
        p50: half of them were not longer.
        p90: 90 % of them were not longer.
        p99: 99 % of them were not longer.
        p999: 99.9 % of them were not longer.
        max: the longest.
        curve: (share, seconds) for more shares, rising.
    """

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    p999: float
    max: float
    curve: tuple[tuple[float, float], ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, latencies: Latencies) -> Percentiles | None:
        """Returns the percentiles of these durations, or None if there are none."""
        if not latencies.count:
            return None
        # A share with less than one duration beyond it has the value of the longest.
        shares = [share for share in _CURVE if share == 1 or (1 - share) * latencies.count >= 1]
        curve = tuple(zip(shares, latencies.percentiles(shares), strict=True))
        p50, p90, p99, p999 = latencies.percentiles(SHARES)
        return cls(latencies.count, latencies.mean, p50, p90, p99, p999, latencies.greatest, curve)

    @property
    def figures(self) -> tuple[float, ...]:
        """The percentiles in the order of NAMES."""
        return self.p50, self.p90, self.p99, self.p999, self.max


@dataclass(frozen=True)
class Second:
    """One second of a load.

    Attributes:
        answered: number of answered calls.
        failed: number of failed calls.
        items: number of items of streams.
        p50: median latency of the answered calls in seconds, None without answers.
        p99: 99th percentile of the same.
    """

    answered: int = 0
    failed: int = 0
    items: int = 0
    p50: float | None = None
    p99: float | None = None


@dataclass(frozen=True)
class Failure:
    """Errors of one kind. example: the message of the first."""

    count: int
    example: str


@dataclass(frozen=True)
class Measurement:
    """The measurements of a load.

    Attributes:
        target: the endpoint, such as `Frontend.generate`.
        load: the shape of the load, such as `64 at once`.
        seconds: measured time, without the warm-up and without the wait for the last answers.
        calls: number of answered calls.
        rate: answered calls per second of the measured time.
        latency: latencies of the answered calls, in seconds. With a given rate they count from the scheduled starts.
        errors: kind of error to its number and an example.
        series: the figures of each second.
        first_item: seconds to the first item, for streams.
        between_items: seconds between two items, for streams.
        items: number of items, for streams.
        item_rate: items per second, for streams.
        late: with a given rate, seconds from the scheduled to the real start of each call.
        unsent: calls that could not start, because too many were waiting.
        unfinished: calls that were cancelled at the end.
        ended: reason why the load ended early, or empty.
        progress: share of the load that is done, from 0 to 1.
    """

    target: str
    load: str
    seconds: float
    calls: int
    rate: float
    latency: Percentiles | None
    errors: Mapping[str, Failure] = field(default_factory=dict)
    series: tuple[Second, ...] = field(default=(), repr=False)
    first_item: Percentiles | None = None
    between_items: Percentiles | None = None
    items: int = 0
    item_rate: float = 0.0
    late: Percentiles | None = None
    unsent: int = 0
    unfinished: int = 0
    ended: str = ""
    progress: float = 1.0

    @property
    def failed(self) -> int:
        """Number of failed calls."""
        return sum(failure.count for failure in self.errors.values())

    @property
    def line(self) -> str:
        """The main figures in one line."""
        figures = [f"{self.calls:,} calls", f"{digits(self.rate)}/s"]
        if self.latency is not None:
            figures += [f"p50 {duration(self.latency.p50)}", f"p99 {duration(self.latency.p99)}"]
        if self.items:
            figures.append(f"{digits(self.item_rate)} items/s")
        figures.append(f"{self.failed:,} errors" if self.failed != 1 else "1 error")
        return " · ".join(figures)

    @property
    def heading(self) -> str:
        """Target, load and measured time."""
        ended = f", {self.ended}" if self.ended else ""
        return f"{self.target}: {self.load} for {self.seconds:.1f} s{ended}"

    def __str__(self) -> str:
        return "\n".join(self._table())

    __repr__ = __str__

    def _table(self) -> Iterator[str]:
        yield self.heading
        yield f"  {self.calls:,} calls, {digits(self.rate)} per second, {self.failed:,} errors"
        if self.items:
            yield f"  {self.items:,} items, {digits(self.item_rate)} per second"
        if self.unsent:
            yield f"  {self.unsent:,} calls could not start: too many were waiting"
        if self.unfinished:
            yield f"  {self.unfinished:,} calls were cancelled at the end"
        rows = {
            "latency": self.latency,
            "first item": self.first_item,
            "between items": self.between_items,
            "started late by": self.late,
        }
        shown = {label: found for label, found in rows.items() if found is not None}
        if shown:
            yield "  " + " " * 18 + "".join(f"{name:>10}" for name in NAMES)
        for label, found in shown.items():
            yield f"  {label:<18}" + "".join(f"{duration(seconds):>10}" for seconds in found.figures)
        for kind, failure in self.errors.items():
            yield f"  {failure.count:,} {kind}: {failure.example}"
