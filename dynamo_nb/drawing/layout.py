"""Where things stand in a drawing: Graphviz lays boxes out, in this process; where it cannot be loaded, `layers` does.

Graphviz is given boxes of known size and no text at all. Measuring text would make it load the machine's fonts: a
quarter of a second, warnings of fontconfig on stderr, and a drawing that differs from machine to machine.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

Point = tuple[float, float]
Size = tuple[float, float]

DENSE = 60
"""Edges from which on labels get no room and the search stops early: 200 boxes with 750 edges took 14 s, now 0.7 s."""

_lock = threading.Lock()
"""Graphviz keeps global state."""


@dataclass(frozen=True)
class Group:
    """Boxes to keep together in a frame. Sizes in points, as everywhere here."""

    members: tuple[int, ...]
    label: Size


@dataclass(frozen=True)
class Route:
    """A way from box to box: the start and control points of its Bézier curves, the tip, and the label's centre."""

    points: tuple[Point, ...]
    tip: Point
    label: Point | None


@dataclass(frozen=True)
class Layout:
    """Centres of the boxes, routes of the edges, frames (left, top, right, bottom) of the groups; y grows downwards."""

    size: Size
    centres: tuple[Point, ...]
    routes: tuple[Route, ...]
    frames: tuple[tuple[float, float, float, float], ...]


def lay_out(boxes: Sequence[Size], edges: Sequence[tuple[int, int, Size]], groups: Sequence[Group] = ()) -> Layout:
    """A place for every box. edges: source and target as indices of boxes, and the size of the label."""
    if not _has_graphviz():
        from dynamo_nb.drawing import layered_layout

        return layered_layout.lay_out(boxes, edges, groups)
    with _lock:
        drawn = json.loads(_graphviz(boxes, edges, groups))
    _, _, width, height = _numbers(drawn["bb"])
    things = {thing["name"]: thing for thing in drawn.get("objects", ())}
    routes = {int(edge["id"]): edge for edge in drawn.get("edges", ())}

    def flipped(x: float, y: float) -> Point:
        return x, height - y

    def frame(bb: str) -> tuple[float, float, float, float]:
        left, bottom, right, top = _numbers(bb)
        return left, height - top, right, height - bottom

    def route(edge: Mapping[str, Any]) -> Route:
        tip, *points = edge["pos"].split()
        return Route(
            tuple(flipped(*_numbers(p)) for p in points),
            flipped(*_numbers(tip.removeprefix("e,"))),
            flipped(*_numbers(edge["lp"])) if "lp" in edge else None,
        )

    return Layout(
        (width, height),
        tuple(flipped(*_numbers(things[f"n{i}"]["pos"])) for i in range(len(boxes))),
        tuple(route(routes[i]) for i in range(len(edges))),
        tuple(frame(things[f"cluster_{i}"]["bb"]) for i in range(len(groups))),
    )


@cache
def _has_graphviz() -> bool:
    try:
        import pygraphviz  # noqa: F401
    except ImportError:  # not installed, or a library of the system that its wheel is linked with
        return False
    return True


def _graphviz(boxes: Sequence[Size], edges: Sequence[tuple[int, int, Size]], groups: Sequence[Group]) -> bytes:
    import pygraphviz

    dense = len(edges) > DENSE
    effort = {"nslimit": "0.2", "mclimit": "0.1", "splines": "polyline"} if dense else {}
    graph = pygraphviz.AGraph(directed=True, strict=False, rankdir="LR", nodesep="0.36", ranksep="0.5", **effort)
    try:
        graph.node_attr.update(shape="box", fixedsize="true", label="")
        graph.edge_attr.update(arrowsize="0.7")
        for i, (width, height) in enumerate(boxes):
            graph.add_node(f"n{i}", width=f"{width / 72:.4f}", height=f"{height / 72:.4f}")
        for i, group in enumerate(groups):
            members = [f"n{member}" for member in group.members]
            graph.add_subgraph(members, name=f"cluster_{i}", label=_room(group.label), labeljust="l", margin="14")
        for i, (source, target, label) in enumerate(edges):
            graph.add_edge(f"n{source}", f"n{target}", key=str(i), id=str(i), label="" if dense else _room(label))
        drawn: bytes = graph.draw(format="json0", prog="dot")
        return drawn
    finally:
        graph.close()


def _room(size: Size) -> str:
    """A label that takes room and has no text."""
    width, height = (round(side) for side in size)
    if not width:
        return ""
    return f'<<table border="0" fixedsize="true" width="{width}" height="{height}"><tr><td></td></tr></table>>'


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split(",")]
