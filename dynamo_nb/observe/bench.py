"""What a load has measured: a plain value, with its text. `plot` draws it, `load` makes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

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
    """Seconds within which so many of `count` durations were. curve: (share, seconds) for more shares, rising."""

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    p999: float
    max: float
    curve: tuple[tuple[float, float], ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, measured: Latencies) -> Percentiles | None:
        """None of nothing."""
        if not measured.count:
            return None
        # A share that none but the longest is beyond says nothing that the longest does not.
        shares = [share for share in _CURVE if share == 1 or (1 - share) * measured.count >= 1]
        curve = tuple(zip(shares, measured.percentiles(shares), strict=True))
        p50, p90, p99, p999 = measured.percentiles(SHARES)
        return cls(measured.count, measured.mean, p50, p90, p99, p999, measured.greatest, curve)

    @property
    def figures(self) -> tuple[float, ...]:
        """In the order of NAMES."""
        return self.p50, self.p90, self.p99, self.p999, self.max


@dataclass(frozen=True)
class Second:
    """One second of a load: calls that were answered and that failed, items of streams; seconds of the answered."""

    answered: int = 0
    failed: int = 0
    items: int = 0
    p50: float | None = None
    p99: float | None = None


@dataclass(frozen=True)
class Failure:
    """Errors of one kind. example: what the first of them said."""

    count: int
    example: str


@dataclass(frozen=True)
class BenchResult:
    """What came of a load.

    target: `Frontend.generate`. load: `64 at once`. seconds: the time that was measured, without the warm-up and
    without the wait for the last answers. calls: that were answered. rate: of these in that time, a second. latency: of
    the answered; with a rate, from the moment at which each was meant to begin. errors: by kind. series: second by
    second. first_item, between_items, items, item_rate: of streams. late: with a rate, how much after that moment calls
    did begin. unsent: calls that could not begin at all, as too many were waiting. unfinished: given up at the end.
    ended: why before its time, or "". progress: share of the load that is done.
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
        return sum(failure.count for failure in self.errors.values())

    def as_dict(self) -> dict[str, Any]:
        """As data that JSON holds."""
        return asdict(self)

    def compared_to(self, before: BenchResult) -> Comparison:
        return Comparison(before, self)

    def __truediv__(self, before: BenchResult) -> Comparison:
        """`after / before`: how many times as much."""
        return Comparison(before, self)

    @property
    def line(self) -> str:
        """What matters most, in one line."""
        said = [f"{self.calls:,} calls", f"{digits(self.rate)}/s"]
        if self.latency is not None:
            said += [f"p50 {duration(self.latency.p50)}", f"p99 {duration(self.latency.p99)}"]
        if self.items:
            said.append(f"{digits(self.item_rate)} items/s")
        said.append(f"{self.failed:,} errors" if self.failed != 1 else "1 error")
        return " · ".join(said)

    @property
    def heading(self) -> str:
        ended = f", {self.ended}" if self.ended else ""
        return f"{self.target}: {self.load} for {self.seconds:.1f} s{ended}"

    def _table(self) -> Iterator[str]:
        yield self.heading
        yield f"  {self.calls:,} calls, {digits(self.rate)} a second, {self.failed:,} errors"
        if self.items:
            yield f"  {self.items:,} items, {digits(self.item_rate)} a second"
        if self.unsent:
            yield f"  {self.unsent:,} calls never began: as many as may wait were waiting"
        if self.unfinished:
            yield f"  {self.unfinished:,} calls were given up at the end"
        rows = {
            "to the answer": self.latency,
            "to the first item": self.first_item,
            "between items": self.between_items,
            "begun late by": self.late,
        }
        shown = {label: found for label, found in rows.items() if found is not None}
        if shown:
            yield "  " + " " * 18 + "".join(f"{name:>10}" for name in NAMES)
        for label, found in shown.items():
            yield f"  {label:<18}" + "".join(f"{duration(seconds):>10}" for seconds in found.figures)
        for kind, failure in self.errors.items():
            yield f"  {failure.count:,} of {kind}: {failure.example}"

    def __str__(self) -> str:
        return "\n".join(self._table())

    __repr__ = __str__

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from dynamo_nb.observe.plot import svg

        return {"text/plain": str(self), "image/svg+xml": svg(self)}


@dataclass(frozen=True)
class Comparison:
    """Two results of the same kind of load. `ratios`: how many times the earlier one the later one is."""

    before: BenchResult
    after: BenchResult

    @property
    def ratios(self) -> dict[str, float]:
        """By name; those that one of them lacks are left out. 1 means no change, also from nothing to nothing."""
        return {name: after / before for name, (before, after) in self._pairs().items() if before}

    def _pairs(self) -> dict[str, tuple[float, float]]:
        pairs = {"rate": (self.before.rate, self.after.rate)}
        if self.before.items and self.after.items:
            pairs["item_rate"] = self.before.item_rate, self.after.item_rate
        for name in ("latency", "first_item", "between_items"):
            one, other = getattr(self.before, name), getattr(self.after, name)
            if one is not None and other is not None:
                ends = zip(NAMES, one.figures, other.figures, strict=True)
                pairs |= {p if name == "latency" else f"{name} {p}": (a, b) for p, a, b in ends}
        return pairs

    def as_dict(self) -> dict[str, Any]:
        return {"before": self.before.as_dict(), "after": self.after.as_dict(), "ratios": self.ratios}

    def __str__(self) -> str:
        lines = [f"{self.after.heading}\ncompared to {self.before.heading}"]
        lines.append(f"  {'':<20}{'before':>12}{'after':>12}{'ratio':>10}")
        for name, (before, after) in self._pairs().items():
            said = [f"{digits(x)}/s" if name.endswith("rate") else duration(x) for x in (before, after)]
            ratio = f"{after / before:.2f}" if before else ""
            lines.append(f"  {name.replace('_', ' '):<20}{said[0]:>12}{said[1]:>12}{ratio:>10}")
        lines.append(f"  {'errors':<20}{self.before.failed:>12,}{self.after.failed:>12,}")
        return "\n".join(lines)

    __repr__ = __str__
