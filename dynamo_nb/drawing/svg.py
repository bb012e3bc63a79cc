"""A graph as SVG: `layout` says where things stand, the shapes are drawn here.

It stands in a page by itself (JupyterLab makes it an image, GitHub too) or inline (nbconvert, the graph widget), light
or dark. So colours are attributes first, for renderers without CSS; a style sheet turns them dark; lines and words that
stand on the page itself are of a grey that reads on white and on black.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from html import escape

from dynamo_nb.drawing.layered_layout import lay_out
from dynamo_nb.drawing.layout import DENSE, Group, Layout, Point, Route
from dynamo_nb.drawing.outline import (
    ENTRY,
    INK,
    LINE,
    QUIET,
    STATES,
    Line,
    Outline,
    description,
    details,
    printable,
    status,
)
from dynamo_nb.drawing.picture import Node, Picture

_NAME, _SMALL = 13.5, 11.0
"""Font sizes, in pixels."""
_PAD = 14.0
_TOP, _LEADING = 21.0, 16.0
"""Baseline of the first line below a card's top, and the distance to the next."""
_MARGIN = 8.0
_LOAD = 160.0
"""Room for `1,234/s · 12 ms · p99 150 ms`, in pixels."""
_STUB = 18.0
"""The line that leads into the entry."""
_STACK = 4.0
"""How far a second card looks out behind a service of several workers."""
_LONGEST = 36
"""Characters of a name or note that are shown; the whole of it is in the title."""

_DASHED, _DOTTED = "4 4", "1.5 3"

_STYLE = """\
.dynamo-graph{font-family:system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;max-width:100%;height:auto}
@media (prefers-color-scheme:dark){
.dynamo-graph .card{fill:#1c2128}
.dynamo-graph .name{fill:#e6edf3}
.dynamo-graph .quiet,.dynamo-graph .off .name{fill:#9da7b3}
.dynamo-graph .entry>.card{stroke:#4493f8}
.dynamo-graph .stub{fill:#4493f8;stroke:#4493f8}
.dynamo-graph [data-state=starting]>.card{stroke:#d29922}
.dynamo-graph [data-state=ready]>.card{stroke:#3fb950}
.dynamo-graph [data-state=draining]>.card{stroke:#a371f7}
.dynamo-graph [data-state=failed]>.card{stroke:#f85149}
.dynamo-graph [data-state=starting] .state{fill:#d29922}
.dynamo-graph [data-state=ready] .state{fill:#3fb950}
.dynamo-graph [data-state=draining] .state{fill:#a371f7}
.dynamo-graph [data-state=failed] .state{fill:#ff7b72}
}"""


def svg(picture: Picture, *, live: bool = False) -> str:
    """The drawing as one `<svg>` element, the same bytes for the same picture on every machine that has Graphviz.

    Nodes and edges are groups with the ids `service:A` and `edge:A->B`. Nodes have `data-service` and `data-state`,
    edges `data-source`, `data-target` and `data-active`, a path `line` and a path `head`.
    live: each node that is served has room for a line of numbers, an empty text `load`.
    """
    outline = Outline.of(picture)
    index = {n.name: i for i, n in enumerate(outline.nodes)}
    layout = _laid_out(
        tuple(_size(node, live=live) for node in outline.nodes),
        tuple((index[e.source], index[e.target], (_width(e.label, _SMALL) + 6, 14.0)) for e in outline.lines),
        tuple(
            Group(tuple(index[n.name] for n in nodes), (_width(namespace, _SMALL) + 8, 14.0))
            for namespace, nodes in outline.groups.items()
        ),
    )
    return "\n".join(_drawn(picture.name, outline, layout, live=live))


# A graph that runs is drawn again and again, with other states in the same places.
_laid_out = lru_cache(maxsize=16)(lay_out)


def _drawn(name: str, outline: Outline, layout: Layout, *, live: bool) -> Iterator[str]:
    left, width, height = _MARGIN + _STUB, layout.size[0] + 2 * _MARGIN + _STUB, layout.size[1] + 2 * _MARGIN
    root = _tag(
        "svg",
        xmlns="http://www.w3.org/2000/svg",
        class_="dynamo-graph",
        role="img",
        aria_label=_summary(name, outline),
        width=width,
        height=height,
        viewBox=f"{_n(-left)} {_n(-_MARGIN)} {_n(width)} {_n(height)}",
        font_family="Helvetica, Arial, sans-serif",
        style="max-width:100%;height:auto",
    )
    yield root.removesuffix("/>") + ">"
    yield _tag("title", _xml(f"Graph {name}".strip()))
    yield _tag("style", _STYLE)
    for (x0, y0, x1, y1), namespace in zip(layout.frames, outline.groups, strict=True):
        look = {"fill": "#8b949e", "fill_opacity": ".09", "stroke": "#8b949e", "stroke_opacity": ".45"}
        frame = _tag("rect", x=x0, y=y0, width=x1 - x0, height=y1 - y0, rx=10, **look)
        label = _tag("text", _xml(namespace), x=x0 + 12, y=y0 + 17, font_size=_SMALL, fill=LINE)
        yield _tag("g", frame + label, class_="namespace")
    for line, route in zip(outline.lines, layout.routes, strict=True):
        yield _edge(line, route, labelled=len(outline.lines) <= DENSE)
    for node, centre in zip(outline.nodes, layout.centres, strict=True):
        title = _tag("title", _xml(description(node)))
        kind = "node" + " entry" * node.entry + " off" * (not node.running)
        yield _tag(
            "g",
            title + "".join(_node(node, centre, live=live)),
            id=f"service:{node.name}",
            class_=kind,
            data_service=node.name,
            data_state=node.state,
        )
    yield "</svg>"


def _edge(line: Line, route: Route, *, labelled: bool) -> str:
    tip, (x, y) = route.tip, route.points[-1]
    dx, dy = (tip[0] - x) * 0.42, (tip[1] - y) * 0.42
    start, *curve = map(_p, route.points)
    said = f"{line.source}.{line.label} → {line.target}" + ("" if line.active else " (not linked)")
    dashes: dict[str, str | float] = {"stroke_width": 1.3}
    if not line.active:
        dashes["stroke_dasharray"] = _DASHED
    parts = [
        _tag("title", _xml(said)),
        _tag("path", class_="line", d=f"M{start}C{' '.join(curve)}", fill="none", stroke=LINE, **dashes),
        _tag("path", class_="head", d=f"M{_p(tip)}L{_p((x - dy, y + dx))}L{_p((x + dy, y - dx))}Z", fill=LINE),
    ]
    if labelled and route.label is not None:
        x, y = route.label
        anchor = {"text_anchor": "middle"}
        parts.append(_tag("text", _xml(line.label), x=x, y=y + 3, font_size=_SMALL, fill=LINE, **anchor))
    kind = "edge" + " off" * (not line.active)
    return _tag(
        "g",
        "".join(parts),
        id=f"edge:{line.source}->{line.target}",
        class_=kind,
        data_source=line.source,
        data_target=line.target,
        data_active="true" if line.active else "false",
    )


def _node(node: Node, centre: Point, *, live: bool) -> Iterator[str]:
    width, height = _size(node, live=live)
    x, y = centre[0] - width / 2, centre[1] - height / 2
    if stacked := _stacked(node):
        width, height, y = width - _STACK, height - _STACK, y + _STACK
    if node.entry:
        start, middle = x - _STUB + 4, y + height / 2
        yield _tag("path", class_="stub", d=f"M{_p((start, middle))}H{_n(x)}", stroke=ENTRY, stroke_width=1.6)
        yield _tag("circle", class_="stub", cx=start, cy=middle, r=3.5, fill=ENTRY)

    colour = STATES.get(node.state) or (ENTRY if node.entry else "#8b949e")
    card: dict[str, str | float] = {"class_": "card", "width": width, "height": height, "rx": 8}
    card |= {"fill": "#ffffff", "stroke": colour}
    if not node.running or node.local:
        card["stroke_dasharray"] = _DOTTED if node.running else _DASHED
    if stacked:
        yield _tag("rect", **card, x=x + _STACK, y=y - _STACK)
    if node.entry or node.state:
        card["stroke_width"] = 1.8
    yield _tag("rect", **card, x=x, y=y)

    left, baseline = x + _PAD, y + _TOP
    style = {"font_weight": "600", "fill": INK if node.running else QUIET}
    if node.interface:
        style["font_style"] = "italic"
    yield _tag("text", _short(node.name), class_="name", x=left, y=baseline, font_size=_NAME, **style)
    if quiet := details(node):
        baseline += _LEADING
        yield _tag("text", _short(quiet), class_="quiet", x=left, y=baseline, font_size=_SMALL, fill=QUIET)
    if state := status(node):
        baseline += _LEADING
        yield _tag("circle", class_="state", cx=left + 3.5, cy=baseline - 4, r=3.5, fill=colour)
        yield _tag("text", _short(state), class_="state", x=left + 12, y=baseline, font_size=_SMALL, fill=colour)
        if live:
            baseline += _LEADING
            yield _tag("text", class_="load", x=left, y=baseline, font_size=_SMALL, fill=QUIET)


def _size(node: Node, *, live: bool) -> tuple[float, float]:
    quiet, state = details(node), status(node)
    widths = [_width(_cut(node.name), _NAME) * 1.08, _width(_cut(quiet), _SMALL)]
    if state:
        widths.append(max(_width(_cut(state), _SMALL), 80.0) + 12)  # "starting" may become "draining: …" in place
        if live:
            widths.append(_LOAD)
    height = _TOP + 11 + _LEADING * (bool(quiet) + bool(state) * (2 if live else 1))
    stack = _STACK if _stacked(node) else 0
    return max(*widths, 56.0) + 2 * _PAD + stack, height + stack


def _stacked(node: Node) -> bool:
    return node.workers > 1 and not node.local


@lru_cache(maxsize=4096)
def _width(words: str, size: float) -> float:
    """About the widest that a sans-serif font sets the words, in pixels; measuring would need the reader's fonts."""
    return sum(_advance(c) for c in words) * size


def _advance(c: str) -> float:
    if c in "iljtfrI.,:;|!'()[] -·":
        return 0.38
    if c in "mwMW@%_\N{MULTIPLICATION SIGN}":
        return 0.9
    if unicodedata.east_asian_width(c) in "WF":
        return 1.0
    return 0.72 if c.isupper() else 0.6


def _summary(name: str, outline: Outline) -> str:
    calls: dict[str, list[str]] = {}
    for line in outline.lines:
        if line.active:
            calls.setdefault(line.source, []).append(line.target)
    said = [f"{source} calls {', '.join(targets)}" for source, targets in calls.items()]
    if idle := [n.name for n in outline.nodes if not n.running]:
        said.append("not started: " + ", ".join(idle))
    said += [f"{n.name} is {n.state}" for n in outline.nodes if n.state]
    return "; ".join([f"Graph {name} of {len(outline.nodes)} services", *said])


def _tag(tag: str, content: str = "", /, **attributes: str | float) -> str:
    """An element. content: XML already. `_` in an attribute's name stands for `-`, and `class_` for `class`."""
    said = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_xml(value) if isinstance(value, str) else _n(value)}"'
        for name, value in attributes.items()
    )
    return f"<{tag}{said}>{content}</{tag}>" if content else f"<{tag}{said}/>"


def _cut(words: str) -> str:
    return words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "…"


def _short(words: str) -> str:
    return _xml(_cut(words))


def _xml(words: str) -> str:
    return words if words.isalnum() else escape(printable(words))


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _p(point: Point) -> str:
    return f"{_n(point[0])},{_n(point[1])}"
