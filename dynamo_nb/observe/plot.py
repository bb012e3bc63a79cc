"""A measurement as SVG: the main figures, rate and latency over time, and latency by percentile."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from dynamo_nb.drawing.svg_elements import (
    AMBER,
    BLUE,
    GREEN,
    INK,
    LINE,
    QUIET,
    RED,
    document,
    element,
    escaped,
    point,
    text_width,
)
from dynamo_nb.observe.measurement import NAMES, Measurement, Percentiles, Second
from dynamo_nb.observe.units import digits, duration

WIDTH: Final = 760.0
POINTS: Final = 240
"""Points of a curve over time; a longer load is drawn with several seconds for each point."""
_HEAD, _FOOT, _PANEL, _GAP = 96.0, 34.0, 104.0, 46.0
_LEFT, _RIGHT = 58.0, 16.0
_FASTEST: Final = 0.05
"""Share of the fastest calls that the curve by percentile leaves out."""
_APART: Final = 4.0
"""Minimum distance of the labels of two marks on an axis, in pixels."""
_ERRORS: Final = 3
"""Kinds of errors that are listed."""
_LONGEST: Final = 110
"""Characters of an error."""
_SMALL = 11.0
_STYLE: Final = """\
.dynamo-bench{font-family:system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;max-width:100%;height:auto}
@media (prefers-color-scheme:dark){
.dynamo-bench .ink{fill:#e6edf3}
.dynamo-bench .quiet{fill:#9da7b3}
.dynamo-bench .rate{stroke:#4493f8}
.dynamo-bench .p50{stroke:#3fb950}
.dynamo-bench .p99{stroke:#d29922}
.dynamo-bench .bad{fill:#f85149}
.dynamo-bench text.rate{fill:#4493f8;stroke:none}
.dynamo-bench text.p50{fill:#3fb950;stroke:none}
.dynamo-bench text.p99{fill:#d29922;stroke:none}
}"""


@dataclass(frozen=True)
class _Frame:
    """A diagram. across, up: functions from a value to its position between 0 and 1."""

    x: float
    y: float
    width: float
    height: float
    across: Callable[[float], float]
    up: Callable[[float], float]

    def at(self, right: float, high: float) -> tuple[float, float]:
        return self.x + self.width * self.across(right), self.y + self.height * (1 - self.up(high))


def svg(result: Measurement) -> str:
    """Returns the drawing as one `<svg>` element, the same bytes for the same value."""
    diagrams = bool(result.series) and result.latency is not None
    errors = list(result.errors.items())[:_ERRORS]
    height = (_HEAD + 2 * _PANEL + _GAP + _FOOT if diagrams else _HEAD - 20) + 14.0 * len(errors)
    parts = [*_head(result)]
    if diagrams and result.latency is not None:
        parts += [*_over_time(result), *_by_percentile(result, result.latency)]
    for number, (kind, failure) in enumerate(errors):
        text = f"{failure.count:,} {kind}: {failure.example}"
        shown = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
        parts.append(_text(shown, 8, height - 6 - 14 * (len(errors) - 1 - number), "bad"))
    return document(
        parts,
        css_class="dynamo-bench",
        title=result.heading,
        description=f"{result.heading}: {result.line}",
        style=_STYLE,
        view_box=(0.0, 0.0, WIDTH, height),
    )


def _head(result: Measurement) -> Iterator[str]:
    yield _text(result.heading, 8, 17, "quiet")
    figures = [(f"{digits(result.rate)}/s", "calls")]
    if result.items:
        figures.append((f"{digits(result.item_rate)}/s", "items"))
    shown = result.latency
    if shown is not None:
        figures += [(duration(seconds), name) for name, seconds in zip(NAMES, shown.figures, strict=True)]
    if result.first_item is not None:
        figures.append((duration(result.first_item.p50), "first item, p50"))
    figures.append((f"{result.failed:,}", "error" if result.failed == 1 else "errors"))
    step = (WIDTH - 16) / max(len(figures), 8)
    for number, (value, name) in enumerate(figures):
        kind = "bad" if name.startswith("error") and result.failed else "ink"
        yield _text(value, 8 + number * step, 43, kind, size=15.5, weight="600")
        yield _text(name, 8 + number * step, 59, "quiet")


def _over_time(result: Measurement) -> Iterator[str]:
    """Answers and errors per second, and below them the latency of the answers."""
    series, span = _thinned(result.series)
    seconds = max(result.seconds, 1.0)
    width = (WIDTH - _GAP) * 0.58 - _LEFT

    def across(moment: float) -> float:
        return min(moment / seconds, 1.0)

    # The last second may be incomplete; its few answers would look like a drop.
    whole = series[:-1] if len(series) > 1 and len(series) * span > result.seconds else series
    top = max(*((s.answered + s.failed) / span for s in whole), 1e-9) * 1.12
    rates = _Frame(_LEFT, _HEAD, width, _PANEL, across, lambda rate: min(rate / top, 1.0))
    marks = [(rate, f"{rate:,.10g}") for rate in _steps(top)]
    yield from _axes(rates, "calls per second", marks, _seconds(seconds), named=False)
    for number, second in enumerate(whole):
        if second.failed:
            x, y = rates.at(number * span, second.failed / span)
            x1, _ = rates.at((number + 1) * span, 0)
            y = min(y, rates.y + rates.height - 2)
            yield element(
                "rect", class_="bad", x=x, y=y, width=max(x1 - x, 1.5), height=rates.y + rates.height - y, fill=RED
            )
    middle = [((number + 0.5) * span, second.answered / span) for number, second in enumerate(whole)]
    yield _curve(rates, middle, "rate", BLUE)

    shown = [s for s in whole if s.p50 is not None and s.p99 is not None]
    low, high = _decades([x for s in shown for x in (s.p50 or 0, s.p99 or 0)])
    latency = _Frame(_LEFT, _HEAD + _PANEL + _GAP, width, _PANEL, across, _log(low, high))
    yield from _axes(latency, "latency", _durations(low, high), _seconds(seconds))
    for name, colour, x in (("p50", GREEN, 46.0), ("p99", AMBER, 74.0)):
        # A second without an answer has no latency: a gap in the curve.
        for answered, run in groupby(enumerate(whole), lambda one: one[1].p50 is not None):
            if answered:
                yield _curve(latency, [((n + 0.5) * span, getattr(s, name)) for n, s in run], name, colour)
        yield _text(name, latency.x + x, latency.y - 8, name, fill=colour)


def _by_percentile(result: Measurement, found: Percentiles) -> Iterator[str]:
    """Latency by share of the calls. To the right, each mark leaves a tenth of the calls beyond it."""
    rest = 1 / max(found.count, 10)
    nines = math.log10(1 / rest)

    def across(share: float) -> float:
        return min(-math.log10(max(1 - share, rest)) / nines, 1.0)

    x = (WIDTH - _GAP) * 0.58 + _GAP + _LEFT * 0.5
    kinds = [("rate", BLUE, "latency", found)]
    if result.first_item is not None:
        kinds.append(("p99", AMBER, "first item", result.first_item))
    if result.between_items is not None:
        kinds.append(("p50", GREEN, "between items", result.between_items))
    # The few fastest calls would stretch the axis by decades.
    curves = [[(s, t) for s, t in one.curve if s >= _FASTEST and (s == 1 or 1 - s >= rest)] for *_, one in kinds]
    low, high = _decades([seconds for curve in curves for _, seconds in curve])
    frame = _Frame(x, _HEAD, WIDTH - _RIGHT - x, 2 * _PANEL + _GAP, across, _log(low, high))
    marks = (0, "0"), (0.5, "50"), (0.9, "90"), (0.99, "99"), (0.999, "99.9"), (0.9999, "99.99")
    shares = [(s, t) for s, t in marks if across(s) < 1]
    bottom = frame.y + frame.height - 12
    yield from _axes(frame, "latency by percentile", _durations(low, high), [*shares, (1.0, "max")])
    for number, ((kind, colour, name, _), curve) in enumerate(zip(kinds, curves, strict=True)):
        yield _curve(frame, curve, kind, colour)
        if len(kinds) > 1:
            yield _text(name, frame.x + frame.width - 6, bottom - 14 * number, kind, fill=colour, anchor="end")


def _axes(
    frame: _Frame,
    title: str,
    rows: Sequence[tuple[float, str]],
    columns: Sequence[tuple[float, str]],
    *,
    named: bool = True,
) -> Iterator[str]:
    look = {"stroke": LINE, "stroke_opacity": ".3"}
    yield _text(title, frame.x, frame.y - 8, "quiet")
    heights = [(frame.at(0, value)[1], name) for value, name in rows]
    for y, name in _spaced(heights, [_SMALL / 2] * len(heights)):
        yield element("line", x1=frame.x, y1=y, x2=frame.x + frame.width, y2=y, **look)
        yield _text(name, frame.x - 6, y + 3.5, "quiet", anchor="end")
    bottom = frame.y + frame.height
    yield element("line", x1=frame.x, y1=bottom, x2=frame.x + frame.width, y2=bottom, stroke=LINE)
    places = [(frame.x + frame.width * frame.across(value), name) for value, name in columns]
    for x, name in _spaced(places, [text_width(name, _SMALL) / 2 for _, name in places]):
        yield element("line", x1=x, y1=bottom, x2=x, y2=bottom + 4, stroke=LINE)
        if named:
            yield _text(name, x, bottom + 17, "quiet", anchor="middle")


def _spaced(marks: Sequence[tuple[float, str]], halves: Sequence[float]) -> list[tuple[float, str]]:
    """The marks whose labels do not overlap. The last mark is always included.

    Args:
        marks: position in pixels and label, along the axis.
        halves: half of the length of each label, in pixels.
    """
    kept: list[tuple[float, str]] = []
    direction = -1 if marks and marks[0][0] > marks[-1][0] else 1
    free = math.inf * direction
    for (at, name), half in reversed(list(zip(marks, halves, strict=True))):
        if (free - at) * direction >= half + _APART:
            kept.append((at, name))
            free = at - half * direction
    return kept[::-1]


def _curve(frame: _Frame, points: Sequence[tuple[float, float]], kind: str, colour: str) -> str:
    line = [frame.at(*values) for values in points]
    if len(line) == 1:  # a line of one point is invisible
        (x, y) = line[0]
        line = [(x - 2, y), (x + 2, y)]
    return element(
        "polyline", class_=kind, points=" ".join(map(point, line)), fill="none", stroke=colour, stroke_width=1.6
    )


def _text(
    text: str,
    x: float,
    y: float,
    kind: str,
    *,
    anchor: str = "start",
    size: float = _SMALL,
    fill: str = "",
    weight: str = "normal",
) -> str:
    colour = fill or {"ink": INK, "quiet": QUIET, "bad": RED}[kind]
    more = {"font_weight": weight} if weight != "normal" else {}
    more |= {"text_anchor": anchor} if anchor != "start" else {}
    return element("text", escaped(text), class_=kind, x=x, y=y, font_size=size, fill=colour, **more)


def _thinned(series: Sequence[Second]) -> tuple[list[Second], int]:
    """The series in at most POINTS spans, and the seconds of each span."""
    span = max(1, math.ceil(len(series) / POINTS))
    return [_together(series[n : n + span]) for n in range(0, len(series), span)], span


def _together(seconds: Sequence[Second]) -> Second:
    """One span. Its latencies are the worst of its seconds, so that a slow second stays visible."""
    p50, p99 = ([x for s in seconds if (x := getattr(s, name)) is not None] for name in ("p50", "p99"))
    return Second(
        sum(s.answered for s in seconds),
        sum(s.failed for s in seconds),
        sum(s.items for s in seconds),
        max(p50, default=None),
        max(p99, default=None),
    )


def _log(low: float, high: float) -> Callable[[float], float]:
    decades = math.log(high / low)
    return lambda seconds: min(max(math.log(max(seconds, low) / low) / decades, 0.0), 1.0)


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """The ends of an axis around the values: 1, 2 or 5 times a power of ten."""
    low, high = min(values, default=1e-3), max(values, default=1e-3)
    steps = [m * 10.0**e for e in range(-7, 6) for m in (1, 2, 5)]
    below = max(s for s in steps if s <= max(low, 1e-6) * 1.0001)
    above = min(s for s in steps if s >= min(max(high, 2 * below), 5e5) * 0.9999)
    return below, above


def _durations(low: float, high: float) -> list[tuple[float, str]]:
    """At most about six marks for an axis of latencies."""
    marks = [m * 10.0**e for e in range(-7, 6) for m in (1, 2, 5) if low * 0.999 <= m * 10.0**e <= high * 1.001]
    if len(marks) > 6:
        marks = [10.0**e for e in range(-7, 6) if low * 0.999 <= 10.0**e <= high * 1.001]
    return [(mark, duration(mark).replace(".00", "").replace(".0 ", " ")) for mark in marks]


def _steps(top: float) -> list[float]:
    """Three or four round numbers up to the top."""
    rough = top / 3.5
    base = 10.0 ** math.floor(math.log10(rough))
    step = next(m * base for m in (1, 2, 5, 10) if m * base >= rough * 0.8)
    return [n * step for n in range(int(top / step) + 1)]


def _seconds(seconds: float) -> list[tuple[float, str]]:
    step = next((s for s in (0.5, 1, 2, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200) if seconds / s <= 6), seconds / 5)
    return [(n * step, f"{n * step:g} s") for n in range(int(seconds / step + 1e-9) + 1)]
