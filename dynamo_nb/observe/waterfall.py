"""What every drawing of a trace says: a row for each call, in order, and a scale of time."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

from dynamo_nb.observe.trace import Span, Trace


@dataclass(frozen=True)
class Row:
    """One call.

    caller: as its caller saw it, None if that was lost. served: as its workers did. branch: its place in the tree, as
    lines. below: the messages of errors in the calls below.
    """

    depth: int
    branch: str
    caller: Span | None
    served: tuple[Span, ...]
    below: frozenset[str]

    @property
    def seen(self) -> Span:
        """The span that shows the whole of it."""
        return self.caller or self.served[0]

    @property
    def service(self) -> str:
        return self.seen.name.rpartition(".")[0]

    @property
    def worker(self) -> str:
        """Which worker answered, or was the last to be asked."""
        if self.served:
            return self.served[-1].worker
        return self.seen.tries[-1].worker if self.seen.tries else ""

    @property
    def failed(self) -> bool:
        return any(span.error for span in (self.seen, *self.served))

    @property
    def said(self) -> str:
        """Beside the bar: how long it took, what came of it, who answered."""
        span, items = self.seen, max(span.items for span in (self.seen, *self.served))
        parts = [duration(span.duration) if span.duration is not None else "has not ended"]
        if code := span.error or next((one.error for one in self.served if one.error), ""):
            parts.append(f"✗ {code}")
        elif span.stopped:
            parts.append(span.stopped)
        if items:
            parts.append(f"{items} item{'s' * (items != 1)}")
        return " · ".join([*parts, self.worker] if self.worker else parts)

    @property
    def remarks(self) -> list[str]:
        """Below the bar: attempts that failed, the error where it arose, the notes."""
        lost = [t for t in self.seen.tries if t.error]
        lines = [f"{t.worker} did not answer: {t.error} after {duration((t.end or t.begin) - t.begin)}" for t in lost]
        what = next((span.what for span in (*self.served, self.seen) if span.what), "")
        if what and what not in self.below:
            lines.append(f"✗ {' '.join(what.split())}")
        notes = {name: value for span in self.served for name, value in span.notes.items()}
        if notes:
            lines.append(", ".join(f"{name}={_shown(value)}" for name, value in notes.items()))
        return lines


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def rows(trace: Trace) -> list[Row]:
    """Depth first. A call and what its worker served are one row: the difference is the way between them."""
    return [row for root in trace.roots for row in _rows(root, 0, "", "")]


def _rows(span: Span, depth: int, branch: str, indent: str) -> Iterator[Row]:
    client = span if span.kind == "client" else None
    served = tuple(one for one in span.children if one.kind == "server") if client else (span,)
    children = [child for one in served for child in one.children]
    if client:
        children += [one for one in span.children if one.kind == "client"]
    below = frozenset(one.what for child in children for one in child.walk())
    yield Row(depth, branch, client, served, below)
    for number, child in enumerate(children):
        last = number == len(children) - 1
        yield from _rows(child, depth + 1, indent + ("└─ " if last else "├─ "), indent + ("   " if last else "│  "))


def extent(trace: Trace) -> float:
    """Seconds from the beginning to the last thing that is known."""
    times = [at for s in trace.spans for at in (s.begin, s.first, s.end, *(t.end for t in s.tries)) if at is not None]
    return max(*times, 1e-6)


def title(trace: Trace) -> str:
    services = len({span.service for span in trace.spans if span.service})
    ended = "failed after" if trace.error is not None else "took"
    return (
        f"{trace.root.name} {ended} {duration(trace.duration)}, {services} service{'s' * (services != 1)}, "
        f"{len(trace.spans)} spans"
    )


def duration(seconds: float) -> str:
    """Three digits and a unit: `8.21 ms`."""
    for unit, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= 0.9995 * unit or name == "µs":
            value = seconds / unit
            digits = 2 - max(math.floor(math.log10(value)), 0) if value >= 0.005 else 0
            return f"{value:.{max(digits, 0)}f} {name}"
    raise AssertionError


def ticks(seconds: float, most: int = 6) -> list[float]:
    """Round moments of a scale that ends at `seconds`, from 0."""
    power = 10.0 ** math.floor(math.log10(seconds / most))
    step = next(power * digit for digit in (1, 2, 5, 10, 20) if seconds / (power * digit) <= most)
    return [step * number for number in range(math.floor(seconds / step + 1e-9) + 1)]


def tick(seconds: float, step: float) -> str:
    """A moment of the scale, with as many digits as its step needs."""
    unit, name = next((u, n) for u, n in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")) if step >= 0.1 * u or n == "µs")
    digits = max(0, -math.floor(math.log10(step / unit) + 1e-9))
    return f"{seconds / unit:.{digits}f} {name}" if seconds else "0"
