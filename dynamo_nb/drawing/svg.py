"""A graph as SVG: `layered_layout` computes the positions, the shapes are drawn here."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from dynamo_nb.drawing.layered_layout import lay_out
from dynamo_nb.drawing.layout import DENSE, Group, Layout, Point, Route
from dynamo_nb.drawing.outline import STATE_COLOURS, Line, Outline, description, details, status
from dynamo_nb.drawing.picture import Node, Picture
from dynamo_nb.drawing.svg_elements import (
    BLUE,
    INK,
    LINE,
    QUIET,
    document,
    element,
    escaped,
    number,
    point,
    text_width,
)

_NAME, _SMALL = 13.5, 11.0
"""Font sizes, in pixels."""
_PAD = 14.0
_TOP, _LEADING = 21.0, 16.0
"""From the top of a card to the baseline of its first line, and from line to line."""
_MARGIN = 8.0
_LOAD = 160.0
"""Width of `1,234/s · 12 ms · p99 150 ms`, in pixels."""
_STUB = 18.0
"""Length of the line that leads into the entry."""
_STACK = 4.0
"""Offset of the second card behind a service with several workers."""
_LONGEST = 36
"""Characters of a name or note that are shown; the title has all of them."""

_DASHED, _DOTTED = "4 4", "1.5 3"

_STYLE = """\
.dynamo-graph{font-family:system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;max-width:100%;height:auto}
@media (prefers-color-scheme:dark){
.dynamo-graph .card{fill:#1c2128}
.dynamo-graph .name{fill:#e6edf3}
.dynamo-graph .quiet,.dynamo-graph .off .name{fill:#9da7b3}
.dynamo-graph .entry>.card{stroke:#4493f8}
.dynamo-graph .stub{fill:#4493f8;stroke:#4493f8}
.dynamo-graph [data-state=starting]>.card,.dynamo-graph [data-state=updating]>.card{stroke:#d29922}
.dynamo-graph [data-state=ready]>.card{stroke:#3fb950}
.dynamo-graph [data-state=draining]>.card{stroke:#a371f7}
.dynamo-graph [data-state=failed]>.card{stroke:#f85149}
.dynamo-graph [data-state=starting] .state,.dynamo-graph [data-state=updating] .state{fill:#d29922}
.dynamo-graph [data-state=ready] .state{fill:#3fb950}
.dynamo-graph [data-state=draining] .state{fill:#a371f7}
.dynamo-graph [data-state=failed] .state{fill:#ff7b72}
}"""


def svg(picture: Picture, *, live: bool = False) -> str:
    """Returns the drawing as one `<svg>` element, the same bytes for the same picture on every machine.

    Nodes and edges are groups with the ids `service:A` and `edge:A->B`. Nodes have `data-service` and `data-state`;
    edges have `data-source`, `data-target` and `data-active`, a path `line` and a path `head`.

    Args:
        picture: picture to draw.
        live: leave space in each served node for a line of numbers, an empty text `load`.
    """
    outline = Outline.of(picture)
    index = {n.name: i for i, n in enumerate(outline.nodes)}
    layout = _lay_out(
        tuple(_size(node, live=live) for node in outline.nodes),
        tuple((index[e.source], index[e.target], (text_width(e.label, _SMALL) + 6, 14.0)) for e in outline.lines),
        tuple(
            Group(tuple(index[n.name] for n in nodes), (text_width(namespace, _SMALL) + 8, 14.0))
            for namespace, nodes in outline.groups.items()
        ),
    )
    left, width, height = _MARGIN + _STUB, layout.size[0] + 2 * _MARGIN + _STUB, layout.size[1] + 2 * _MARGIN
    return document(
        _elements(outline, layout, live=live),
        css_class="dynamo-graph",
        title=f"Graph {picture.name}".strip(),
        description=summary(picture),
        style=_STYLE,
        view_box=(-left, -_MARGIN, width, height),
    )


# A running graph is drawn again and again, with other states at the same positions.
_lay_out = lru_cache(maxsize=16)(lay_out)


def _elements(outline: Outline, layout: Layout, *, live: bool) -> Iterator[str]:
    for (x0, y0, x1, y1), namespace in zip(layout.frames, outline.groups, strict=True):
        look = {"fill": "#8b949e", "fill_opacity": ".09", "stroke": "#8b949e", "stroke_opacity": ".45"}
        frame = element("rect", x=x0, y=y0, width=x1 - x0, height=y1 - y0, rx=10, **look)
        label = element("text", escaped(namespace), x=x0 + 12, y=y0 + 17, font_size=_SMALL, fill=LINE)
        yield element("g", frame + label, class_="namespace")
    for line, route in zip(outline.lines, layout.routes, strict=True):
        yield _edge(line, route, labelled=len(outline.lines) <= DENSE)
    for node, centre in zip(outline.nodes, layout.centres, strict=True):
        title = element("title", escaped(description(node)))
        kind = "node" + " entry" * node.entry + " off" * (not node.running)
        yield element(
            "g",
            title + "".join(_node(node, centre, live=live)),
            id=f"service:{node.name}",
            class_=kind,
            data_service=node.name,
            data_state=node.state,
        )


def _edge(line: Line, route: Route, *, labelled: bool) -> str:
    tip, (x, y) = route.tip, route.points[-1]
    dx, dy = (tip[0] - x) * 0.42, (tip[1] - y) * 0.42
    start, *curve = map(point, route.points)
    title = f"{line.source}.{line.label} → {line.target}" + ("" if line.active else " (not linked)")
    dashes: dict[str, str | float] = {"stroke_width": 1.3}
    if not line.active:
        dashes["stroke_dasharray"] = _DASHED
    parts = [
        element("title", escaped(title)),
        element("path", class_="line", d=f"M{start}C{' '.join(curve)}", fill="none", stroke=LINE, **dashes),
        element(
            "path", class_="head", d=f"M{point(tip)}L{point((x - dy, y + dx))}L{point((x + dy, y - dx))}Z", fill=LINE
        ),
    ]
    if labelled and route.label is not None:
        x, y = route.label
        anchor = {"text_anchor": "middle"}
        parts.append(element("text", escaped(line.label), x=x, y=y + 3, font_size=_SMALL, fill=LINE, **anchor))
    kind = "edge" + " off" * (not line.active)
    return element(
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
        yield element("path", class_="stub", d=f"M{point((start, middle))}H{number(x)}", stroke=BLUE, stroke_width=1.6)
        yield element("circle", class_="stub", cx=start, cy=middle, r=3.5, fill=BLUE)

    colour = STATE_COLOURS.get(node.state) or (BLUE if node.entry else "#8b949e")
    card: dict[str, str | float] = {"class_": "card", "width": width, "height": height, "rx": 8}
    card |= {"fill": "#ffffff", "stroke": colour}
    if not node.running or node.local:
        card["stroke_dasharray"] = _DOTTED if node.running else _DASHED
    if stacked:
        yield element("rect", **card, x=x + _STACK, y=y - _STACK)
    if node.entry or node.state:
        card["stroke_width"] = 1.8
    yield element("rect", **card, x=x, y=y)

    left, baseline = x + _PAD, y + _TOP
    style = {"font_weight": "600", "fill": INK if node.running else QUIET}
    if node.interface:
        style["font_style"] = "italic"
    yield element("text", _short(node.name), class_="name", x=left, y=baseline, font_size=_NAME, **style)
    if quiet := details(node):
        baseline += _LEADING
        yield element("text", _short(quiet), class_="quiet", x=left, y=baseline, font_size=_SMALL, fill=QUIET)
    if state := status(node):
        baseline += _LEADING
        yield element("circle", class_="state", cx=left + 3.5, cy=baseline - 4, r=3.5, fill=colour)
        yield element("text", _short(state), class_="state", x=left + 12, y=baseline, font_size=_SMALL, fill=colour)
        if live:
            baseline += _LEADING
            yield element("text", class_="load", x=left, y=baseline, font_size=_SMALL, fill=QUIET)


def _size(node: Node, *, live: bool) -> tuple[float, float]:
    quiet, state = details(node), status(node)
    widths = [text_width(_cut(node.name), _NAME) * 1.08, text_width(_cut(quiet), _SMALL)]
    if state:
        widths.append(max(text_width(_cut(state), _SMALL), 80.0) + 12)  # "starting" may become "draining: …" in place
        if live:
            widths.append(_LOAD)
    height = _TOP + 11 + _LEADING * (bool(quiet) + bool(state) * (2 if live else 1))
    stack = _STACK if _stacked(node) else 0
    return max(*widths, 56.0) + 2 * _PAD + stack, height + stack


def _stacked(node: Node) -> bool:
    return node.workers > 1 and not node.local


def summary(picture: Picture) -> str:
    """Returns the text alternative of a drawing: its content as one sentence.

    Args:
        picture: the drawing.
    """
    outline = Outline.of(picture)
    calls: dict[str, list[str]] = {}
    for line in outline.lines:
        if line.active:
            calls.setdefault(line.source, []).append(line.target)
    facts = [f"{source} calls {', '.join(targets)}" for source, targets in calls.items()]
    if idle := [n.name for n in outline.nodes if not n.running]:
        facts.append("not started: " + ", ".join(idle))
    facts += [f"{n.name} is {n.state}" for n in outline.nodes if n.state]
    return "; ".join([f"Graph {picture.name} of {len(outline.nodes)} services", *facts])


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _short(text: str) -> str:
    return escaped(_cut(text))
