"""A trace as SVG: a row for each call, light or dark, by itself in a page or inline.

It stands on a card of its own, since a reader's page may be of either colour. The pale bar is the call as its caller
saw it, the full one inside a worker at work, in the colour of its service; up to the first item of a stream that one is
lighter. What failed is red, and an attempt that did is dashed.
"""

from __future__ import annotations

from collections.abc import Iterator

from dynamo_nb.drawing.outline import INK, QUIET
from dynamo_nb.drawing.svg import _n, _tag, _width, _xml
from dynamo_nb.observe.trace import Span, Trace
from dynamo_nb.observe.waterfall import Row, duration, extent, rows, tick, ticks, title

_FONT, _SMALL = 12.0, 11.0
"""Font sizes, in pixels."""
_PAD = 14.0
_CHART = 460.0
"""Width of the scale."""
_SAID = 250.0
"""Width of what is said beside a bar."""
_NAMES = (110.0, 280.0)
"""Least and greatest width of the names."""
_INDENT, _DEEPEST = 14.0, 120.0
"""Of one level, and of the deepest; where there are more levels each gets less."""
_HEAD = 52.0
_ROW, _DENSE_ROW, _DENSE = 24.0, 18.0, 40
"""Height of a row, of one where there are more than so many, and how many."""
_BAR, _WAY = 12.0, 6.0
"""Height of a worker's bar, and of its caller's."""
_REMARK = 15.0
_THINNEST = 1.5

_PALETTE = (
    ("#0969da", "#4493f8"),
    ("#1a7f37", "#3fb950"),
    ("#8250df", "#a371f7"),
    ("#9a6700", "#d29922"),
    ("#1b7c83", "#39c5cf"),
    ("#bf3989", "#f778ba"),
    ("#bc4c00", "#f0883e"),
    ("#57606a", "#9da7b3"),
)
"""Of services, in the order in which they come: in the light, and in the dark."""
_RED = ("#cf222e", "#ff7b72")
_GRID = ("#d8dee4", "#373e47")

_STYLE = "\n".join(
    [
        '.dynamo-trace{font-family:system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif}',
        "@media (prefers-color-scheme:dark){",
        ".dynamo-trace .card{fill:#1c2128;stroke:#444c56}",
        ".dynamo-trace .name{fill:#e6edf3}",
        ".dynamo-trace .quiet{fill:#9da7b3}",
        f".dynamo-trace .grid{{stroke:{_GRID[1]}}}",
        *(f".dynamo-trace .s{number} .bar{{fill:{dark}}}" for number, (_, dark) in enumerate(_PALETTE)),
        f".dynamo-trace .failed .bar,.dynamo-trace .lost,.dynamo-trace .bad{{fill:{_RED[1]}}}",
        f".dynamo-trace .lost{{stroke:{_RED[1]}}}",
        ".dynamo-trace .first{fill:#e6edf3}",
        "}",
    ]
)


def svg(trace: Trace) -> str:
    """The drawing as one `<svg>` element, the same bytes for the same trace. A row is a group with `data-span`."""
    return "\n".join(_drawn(trace))


def _drawn(trace: Trace) -> Iterator[str]:
    found, whole = rows(trace), extent(trace)
    indent = min(_INDENT, _DEEPEST / max(1, *(row.depth for row in found)))
    names = max(_width(row.seen.name, _FONT) + row.depth * indent for row in found) + 12
    names = min(max(names, _NAMES[0]), _NAMES[1])
    height = _DENSE_ROW if len(found) > _DENSE else _ROW
    tall = _HEAD + sum(height + _REMARK * len(row.remarks) for row in found) + _PAD / 2
    left = _PAD + names
    width = left + _CHART + _SAID + _PAD
    yield (
        _tag(
            "svg",
            xmlns="http://www.w3.org/2000/svg",
            class_="dynamo-trace",
            role="img",
            aria_label=title(trace),
            width=width,
            height=tall,
            viewBox=f"0 0 {_n(width)} {_n(tall)}",
            font_family="Helvetica, Arial, sans-serif",
            style="max-width:100%;height:auto",
        ).removesuffix("/>")
        + ">"
    )
    yield _tag("title", _xml(title(trace)))
    yield _tag("style", _STYLE)
    yield _tag(
        "rect", class_="card", x=0.5, y=0.5, width=width - 1, height=tall - 1, rx=8, fill="#ffffff", stroke="#d0d7de"
    )
    yield _words(title(trace), _PAD, 20, _FONT, "name", INK, font_weight="600")
    yield from _scale(whole, left, tall)
    colours = {service: n for n, service in enumerate(dict.fromkeys(row.service for row in found))}
    y = _HEAD
    for row in found:
        number = colours[row.service] % len(_PALETTE)
        kind = f"row s{number}" + " failed" * row.failed
        parts = [_tag("title", _xml(_description(row)))]
        x = _PAD + row.depth * indent
        parts.append(_words(row.seen.name, x, y + height / 2 + 4, _FONT, "name", INK, room=left - x - 6))
        parts += _bars(row, _RED[0] if row.failed else _PALETTE[number][0], left, whole, y + height / 2)
        place = left + _CHART + 12, y + height / 2 + 4
        colour = ("bad", _RED[0]) if row.failed else ("quiet", QUIET)
        parts.append(_words(row.said, *place, _SMALL, *colour, room=_SAID - 12))
        y += height
        for remark in row.remarks:
            colour = ("bad", _RED[0]) if remark.startswith("✗") else ("quiet", QUIET)
            parts.append(_words(remark, x + 10, y + 8, _SMALL, *colour, room=width - x - 10 - _PAD))
            y += _REMARK
        yield _tag("g", "".join(parts), class_=kind, data_span=row.seen.id)
    yield "</svg>"


def _scale(whole: float, left: float, tall: float) -> Iterator[str]:
    moments = ticks(whole)
    step = moments[1] if len(moments) > 1 else whole
    for moment in moments:
        x = left + moment / whole * _CHART
        yield _tag("path", class_="grid", d=f"M{_n(x)},{_n(_HEAD - 8)}V{_n(tall - 8)}", stroke=_GRID[0])
        yield _words(tick(moment, step), x, _HEAD - 13, _SMALL, "quiet", QUIET, text_anchor="middle")


def _bars(row: Row, colour: str, left: float, whole: float, middle: float) -> Iterator[str]:
    def bar(
        begin: float, end: float | None, height: float, opacity: str, kind: str = "bar", colour: str = colour
    ) -> str:
        x = left + begin / whole * _CHART
        wide = max((whole if end is None else end) / whole * _CHART + left - x, _THINNEST)
        dashes = {"stroke": colour, "stroke_dasharray": "3 2"} if end is None or kind == "lost" else {}
        place = {"x": x, "y": middle - height / 2, "width": wide, "height": height, "rx": 2.0}
        return _tag("rect", class_=kind, **place, fill=colour, fill_opacity=opacity, **dashes)

    if row.caller is not None:
        yield bar(row.caller.begin, row.caller.end, _WAY, ".35")
    for span in row.served:
        if span.first is None:
            yield bar(span.begin, span.end, _BAR, ".85")
        else:
            yield bar(span.begin, span.first, _BAR, ".45")
            yield bar(span.first, span.end, _BAR, ".85")
    for one in row.seen.tries:
        if one.error:
            yield bar(one.begin, one.end or one.begin, _BAR, ".2", "lost", _RED[0])
    if (first := row.seen.first) is not None:
        x, top = left + first / whole * _CHART, middle - _BAR / 2
        yield _tag("path", class_="first", d=f"M{_n(x - 3.5)},{_n(top - 4)}h7l-3.5,5Z", fill=INK)


def _words(words: str, x: float, y: float, size: float, kind: str, colour: str, *, room: float = 0, **more: str) -> str:
    """room: pixels that it may take; what does not fit is in the title of its row."""
    if room and _width(words, size) > room:
        while words and _width(words + "…", size) > room:
            words = words[:-1]
        words += "…"
    return _tag("text", _xml(words), x=x, y=y, font_size=size, class_=kind, fill=colour, **more)


def _description(row: Row) -> str:
    span = row.seen
    lines = [span.name, row.said]
    if row.caller is not None and row.served:
        lines.append(f"at work: {', '.join(_took(one) for one in row.served)}")
    if span.first is not None:
        lines.append(f"first item after {duration(span.first - span.begin)}")
    lines.append(f"bytes: {span.bytes_out} out, {span.bytes_in} in")
    return "\n".join([*lines, *row.remarks])


def _took(span: Span) -> str:
    return duration(span.duration) if span.duration is not None else "has not ended"
