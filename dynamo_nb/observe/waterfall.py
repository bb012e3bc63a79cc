"""Content that every drawing of a trace has in common: a title, a scale of time, and a row for each call."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from dynamo_nb.observe.span import TraceSpan
from dynamo_nb.observe.units import duration

LONG: Final = 60
"""Maximum number of rows without folding of repeated calls."""
_REPEATED: Final = 3
"""Number of calls of one endpoint below one call in a folded trace, in addition to the slowest and the failed calls."""


@dataclass(frozen=True)
class Row:
    """One call.

    Attributes:
        depth: number of calls above it.
        branch: its position in the tree, as line characters.
        caller: the call as its caller sees it, or None if that span was lost.
        served: the request as its workers see it.
        errors_below: messages of the errors in the calls below.
        folded: calls that this row represents, with all calls below them; usually none.
    """

    depth: int
    branch: str
    caller: TraceSpan | None
    served: tuple[TraceSpan, ...]
    errors_below: frozenset[str] = frozenset()
    folded: tuple[TraceSpan, ...] = ()

    @property
    def whole(self) -> TraceSpan:
        """The span that covers the whole call."""
        return self.caller or self.served[0]

    @property
    def service(self) -> str:
        """The service that was called."""
        name, space, _ = self.whole.name.partition(" ")
        return name if space else name.rpartition(".")[0]

    @property
    def worker(self) -> str:
        """The worker that answered, or the last one that was called."""
        if self.served:
            return self.served[-1].worker
        return self.whole.tries[-1].worker if self.whole.tries else ""

    @property
    def failed(self) -> bool:
        """True if the call or its request ended with an error."""
        return any(span.error for span in (self.whole, *self.served))

    @property
    def summary(self) -> str:
        """The text beside the bar: duration, error, number of items, worker."""
        if self.folded:
            times = [span.duration for span in self.folded if span.duration is not None]
            between = f", {duration(min(times))} to {duration(max(times))}" if times else ""
            return f"{len(self.folded)} more{between}"
        span, items = self.whole, max(span.items for span in (self.whole, *self.served))
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
        """The lines below the bar: failed attempts, the error at the call where it arose, notes."""
        failed = [t for t in self.whole.tries if t.error]
        lines = [f"{t.worker} did not answer: {t.error} after {duration((t.end or t.begin) - t.begin)}" for t in failed]
        message = next((span.what for span in (*self.served, self.whole) if span.what), "")
        if message and message not in self.errors_below:
            lines.append(f"✗ {' '.join(message.split())}")
        notes = {name: value for span in self.served for name, value in span.notes.items()}
        if notes:
            lines.append(", ".join(f"{name}={_note(value)}" for name, value in notes.items()))
        return lines


@dataclass(frozen=True)
class Waterfall:
    """A trace, ready to be drawn.

    Attributes:
        title: the request, its duration, the number of services and spans.
        seconds: length of the scale of time.
        rows: the calls, depth first. A call and its request in the worker share a row. In a long trace, one row
            represents repeated calls.
    """

    title: str
    seconds: float
    rows: tuple[Row, ...]

    @classmethod
    def of(cls, roots: Sequence[TraceSpan], *, failed: bool) -> Waterfall:
        """Returns the waterfall of these spans.

        Args:
            roots: the spans without a parent; the first is the traced call.
            failed: True if the traced call failed.
        """
        spans = [span for root in roots for span in root.walk()]
        services = len({span.service for span in spans if span.service})
        title = (
            f"{roots[0].name} {'failed after' if failed else 'took'} {duration(roots[0].duration or 0.0)}, "
            f"{services} service{'s' * (services != 1)}, {len(spans)} spans"
        )
        times = [at for s in spans for at in (s.begin, s.first, s.end, *(t.end for t in s.tries)) if at is not None]
        rows = [row for root in roots for row in _rows(root, 0, "", "", fold=False)]
        if len(rows) > LONG:
            rows = [row for root in roots for row in _rows(root, 0, "", "", fold=True)]
        return cls(title, max(*times, 1e-6), tuple(rows))


def _rows(span: TraceSpan, depth: int, branch: str, indent: str, *, fold: bool) -> Iterator[Row]:
    client = span if span.kind == "client" else None
    served = tuple(one for one in span.children if one.kind == "server") if client else (span,)
    children = [child for one in served for child in one.children]
    if client:
        children += [one for one in span.children if one.kind == "client"]
    errors_below = frozenset(one.what for child in children for one in child.walk())
    yield Row(depth, branch, client, served, errors_below)
    groups = _folded(children) if fold else [(child,) for child in children]
    for number, calls in enumerate(groups):
        last = number == len(groups) - 1
        line, below = indent + ("└─ " if last else "├─ "), indent + ("   " if last else "│  ")
        if len(calls) == 1:
            yield from _rows(calls[0], depth + 1, line, below, fold=fold)
        else:
            yield Row(depth + 1, line, None, (_together(calls),), folded=calls)


def _folded(children: Sequence[TraceSpan]) -> list[tuple[TraceSpan, ...]]:
    """The calls with their own rows, in order of time, and then the other calls of each endpoint."""
    seen: Counter[str] = Counter()
    slowest = {child.name: child for child in sorted(children, key=lambda child: child.duration or 0.0)}
    single: list[tuple[TraceSpan, ...]] = []
    others: dict[str, list[TraceSpan]] = {}
    for child in children:
        seen[child.name] += 1
        if seen[child.name] <= _REPEATED or child is slowest[child.name] or any(map(_has_error, child.walk())):
            single.append((child,))
        else:
            others.setdefault(child.name, []).append(child)
    return [*single, *map(tuple, others.values())]


def _has_error(span: TraceSpan) -> bool:
    return bool(span.error) or any(one.error for one in span.tries)


def _together(spans: Sequence[TraceSpan]) -> TraceSpan:
    """One span from the first begin to the last end."""
    ends = [span.end for span in spans if span.end is not None]
    return replace(spans[0], end=max(ends, default=None), first=None, items=0, children=(), tries=(), notes={})


def _note(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
