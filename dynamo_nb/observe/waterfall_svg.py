"""A trace as SVG: a row for each call.

It has a card of its own, since the page around it may be light or dark. The pale bar is the call as its caller sees it,
the full bar inside is the worker, in the colour of its service, lighter until the first item of a stream. Failed calls
are red, failed attempts are dashed.
"""

from __future__ import annotations

from collections.abc import Iterator

from dynamo_nb.drawing.svg_elements import (
    AMBER,
    BLUE,
    GREEN,
    INK,
    PURPLE,
    QUIET,
    RED,
    document,
    element,
    escaped,
    number,
    text_width,
)
from dynamo_nb.observe.span import TraceSpan
from dynamo_nb.observe.units import duration, tick_label, ticks
from dynamo_nb.observe.waterfall import Row, Waterfall

_FONT, _SMALL = 12.0, 11.0
"""Font sizes, in pixels."""
_PAD = 14.0
_CHART = 460.0
"""Width of the scale of time."""
_SUMMARY = 250.0
"""Width of the text beside a bar."""
_NAMES = (110.0, 280.0)
"""Least and greatest width of the column of names."""
_INDENT, _DEEPEST = 14.0, 120.0
"""Indent of one level, and of the deepest level."""
_HEAD = 52.0
_ROW, _DENSE_ROW, _DENSE = 24.0, 18.0, 40
"""Height of a row, height of a row in a trace with many rows, and from how many rows on."""
_BAR, _CALL_BAR = 12.0, 6.0
"""Height of a worker's bar, and of its caller's bar."""
_REMARK = 15.0
_THINNEST = 1.5

_PALETTE = (
    (BLUE, "#4493f8"),
    (GREEN, "#3fb950"),
    (PURPLE, "#a371f7"),
    (AMBER, "#d29922"),
    ("#1b7c83", "#39c5cf"),
    ("#bf3989", "#f778ba"),
    ("#bc4c00", "#f0883e"),
    ("#57606a", "#9da7b3"),
)
"""Colours of services in order of appearance: on a light page, and on a dark page."""
_RED = (RED, "#ff7b72")
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


def svg(waterfall: Waterfall) -> str:
    """Returns the drawing as one `<svg>` element, the same bytes for the same value.

    A row is a group with the id of its span as `data-span`.
    """
    rows = waterfall.rows
    indent = min(_INDENT, _DEEPEST / max(1, *(row.depth for row in rows)))
    names = max(text_width(row.whole.name, _FONT) + row.depth * indent for row in rows) + 12
    left = _PAD + min(max(names, _NAMES[0]), _NAMES[1])
    row_height = _DENSE_ROW if len(rows) > _DENSE else _ROW
    width = left + _CHART + _SUMMARY + _PAD
    height = _HEAD + sum(row_height + _REMARK * len(row.remarks) for row in rows) + _PAD / 2
    return document(
        _elements(waterfall, left, width, height, row_height, indent),
        css_class="dynamo-trace",
        title=waterfall.title,
        description=waterfall.title,
        style=_STYLE,
        view_box=(0.0, 0.0, width, height),
    )


def _elements(
    waterfall: Waterfall, left: float, width: float, height: float, row_height: float, indent: float
) -> Iterator[str]:
    card = {"fill": "#ffffff", "stroke": "#d0d7de"}
    yield element("rect", class_="card", x=0.5, y=0.5, width=width - 1, height=height - 1, rx=8, **card)
    yield _text(waterfall.title, _PAD, 20, _FONT, "name", INK, font_weight="600")
    yield from _scale(waterfall.seconds, left, height)
    colours = {service: n for n, service in enumerate(dict.fromkeys(row.service for row in waterfall.rows))}
    y = _HEAD
    for row in waterfall.rows:
        colour_index = colours[row.service] % len(_PALETTE)
        kind = f"row s{colour_index}" + " failed" * row.failed
        parts = [element("title", escaped(_description(row)))]
        x = _PAD + row.depth * indent
        parts.append(_text(row.whole.name, x, y + row_height / 2 + 4, _FONT, "name", INK, max_width=left - x - 6))
        bar_colour = _RED[0] if row.failed else _PALETTE[colour_index][0]
        parts += _bars(row, bar_colour, left, waterfall.seconds, y + row_height / 2)
        at = left + _CHART + 12, y + row_height / 2 + 4
        colour = ("bad", _RED[0]) if row.failed else ("quiet", QUIET)
        parts.append(_text(row.summary, *at, _SMALL, *colour, max_width=_SUMMARY - 12))
        y += row_height
        for remark in row.remarks:
            colour = ("bad", _RED[0]) if remark.startswith("✗") else ("quiet", QUIET)
            parts.append(_text(remark, x + 10, y + 8, _SMALL, *colour, max_width=width - x - 10 - _PAD))
            y += _REMARK
        yield element("g", "".join(parts), class_=kind, data_span=row.whole.id)


def _scale(seconds: float, left: float, height: float) -> Iterator[str]:
    moments = ticks(seconds)
    step = moments[1] if len(moments) > 1 else seconds
    for moment in moments:
        x = left + moment / seconds * _CHART
        line = f"M{number(x)},{number(_HEAD - 8)}V{number(height - 8)}"
        yield element("path", class_="grid", d=line, stroke=_GRID[0])
        yield _text(tick_label(moment, step), x, _HEAD - 13, _SMALL, "quiet", QUIET, text_anchor="middle")


def _bars(row: Row, colour: str, left: float, seconds: float, middle: float) -> Iterator[str]:
    def bar(
        begin: float, end: float | None, height: float, opacity: str, kind: str = "bar", colour: str = colour
    ) -> str:
        x = left + begin / seconds * _CHART
        width = max((seconds if end is None else end) / seconds * _CHART + left - x, _THINNEST)
        dashes = {"stroke": colour, "stroke_dasharray": "3 2"} if end is None or kind == "lost" else {}
        at = {"x": x, "y": middle - height / 2, "width": width, "height": height, "rx": 2.0}
        return element("rect", class_=kind, **at, fill=colour, fill_opacity=opacity, **dashes)

    if row.caller is not None:
        yield bar(row.caller.begin, row.caller.end, _CALL_BAR, ".35")
    for span in row.served:
        if span.first is None:
            yield bar(span.begin, span.end, _BAR, ".85")
        else:
            yield bar(span.begin, span.first, _BAR, ".45")
            yield bar(span.first, span.end, _BAR, ".85")
    for one in row.whole.tries:
        if one.error:
            yield bar(one.begin, one.end or one.begin, _BAR, ".2", "lost", _RED[0])
    if (first := row.whole.first) is not None:
        x, top = left + first / seconds * _CHART, middle - _BAR / 2
        yield element("path", class_="first", d=f"M{number(x - 3.5)},{number(top - 4)}h7l-3.5,5Z", fill=INK)


def _text(
    text: str, x: float, y: float, size: float, kind: str, colour: str, *, max_width: float = 0, **more: str
) -> str:
    """max_width: in pixels; the title of the row has the whole text."""
    if max_width and text_width(text, size) > max_width:
        while text and text_width(text + "…", size) > max_width:
            text = text[:-1]
        text += "…"
    return element("text", escaped(text), x=x, y=y, font_size=size, class_=kind, fill=colour, **more)


def _description(row: Row) -> str:
    span = row.whole
    lines = [span.name, row.summary]
    if row.caller is not None and row.served:
        lines.append(f"in the worker: {', '.join(_took(one) for one in row.served)}")
    if span.first is not None:
        lines.append(f"first item after {duration(span.first - span.begin)}")
    lines.append(f"bytes: {span.bytes_out} out, {span.bytes_in} in")
    return "\n".join([*lines, *row.remarks])


def _took(span: TraceSpan) -> str:
    return duration(span.duration) if span.duration is not None else "has not ended"
