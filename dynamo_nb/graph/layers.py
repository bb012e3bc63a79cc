"""Where things stand in a drawing, without Graphviz: boxes in columns, every edge from left to right.

The wheel of pygraphviz brings Graphviz, but not the libraries of X11, GLib and Expat that it is linked with, and slim
images have none of them: there a drawing is laid out here. No library does this: grandalf, the one in pure Python, is
dormant since 2023, of GPL or EPL, and knows neither labels nor groups.

The method is that of Sugiyama, Tagawa and Toda (1981). Edges that close a cycle are turned, boxes are put in columns by
their longest path, and an edge takes a place of its own in each column on its way; between two columns of boxes is one
of labels. Edges climb only between columns, so none runs through a box or a label.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from statistics import fmean

from dynamo_nb.graph.layout import DENSE, Group, Layout, Point, Route, Size

_BOX_ROOM, _LINE_ROOM = 13.0, 5.0
"""Kept free above and below a box, and a line with its label."""
_LIFT = 9.0
"""From a line up to the middle of its label."""
_LOOP = 22.0
"""How high an edge from a box to itself rises over it."""
_ASIDE = 8.0
"""How far below the middle of a box a turned edge starts and ends: its counterpart may be at the middle."""
_TIP = 7.0
_MARGIN, _APART = 14.0, 12.0
"""From a frame to what is in it, and to the next frame."""
_BEND, _CLIMB = 24.0, 72.0
"""The room between columns: the least, and the most, for lines that climb far."""
_SWEEPS = 12
"""To and fro; drawings of a dozen boxes stand still after four."""


@dataclass(eq=False, slots=True)
class _Place:
    """What takes room in a column, from y - above to y + below: a box, or an edge on its way.

    A block is a group, a box of no group, or an edge between two of these; those of a lower level stand above.
    """

    column: int
    block: int
    level: float
    width: float
    above: float
    below: float
    room: float
    y: float = 0.0
    before: list[_Place] = field(default_factory=list)
    after: list[_Place] = field(default_factory=list)


def lay_out(boxes: Sequence[Size], edges: Sequence[tuple[int, int, Size]], groups: Sequence[Group] = ()) -> Layout:
    """As `layout.lay_out`."""
    order, turned = _acyclic(len(boxes), edges)
    places = _boxes(boxes, edges, groups, _ranks(order, edges, turned))
    ways = [_way(places, edge, i in turned, i + len(groups) + len(boxes), len(edges)) for i, edge in enumerate(edges)]
    everything = places + [place for way in ways for place in way[1:-1]]
    columns: list[list[_Place]] = [[] for _ in range(max((p.column + 1 for p in everything), default=0))]
    for place in everything:
        columns[place.column].append(place)
    _order(columns)
    insides = _stand(everything, [group.label[1] for group in groups])

    widths = [max(p.width for p in column) for column in columns]
    for group, inside in zip(groups, insides, strict=True):
        first = min(p.column for p in inside)
        widths[first] = max(widths[first], group.label[0])
    climbs = [max(abs(p.y - q.y) for p in column for q in p.after or [p]) for column in columns[:-1]]
    bends = [min(max(_BEND, climb / 3), _CLIMB) for climb in climbs]
    lefts = list(accumulate((w + b for w, b in zip(widths, bends, strict=False)), initial=0.0))[: len(columns)]
    spans = [(left, left + width) for left, width in zip(lefts, widths, strict=True)]
    frames = [
        (
            min(spans[p.column][0] for p in inside) - _MARGIN,
            min(p.y - p.above for p in inside) - _MARGIN - group.label[1],
            max(spans[p.column][1] for p in inside) + _MARGIN,
            max(p.y + p.below for p in inside) + _MARGIN,
        )
        for group, inside in zip(groups, insides, strict=True)
    ]
