"""Where things stand in a drawing, without Graphviz: boxes in columns, every edge from left to right.

The wheel of pygraphviz brings Graphviz, but not the libraries of X11, GLib and Expat that it is linked with, and slim
images have none of them: there a drawing is laid out here. No library does this: grandalf, the one in pure Python, is
dormant since 2023, of GPL or EPL, and knows neither labels nor groups.

The method is that of Sugiyama, Tagawa and Toda (1981). Edges that close a cycle are turned, boxes are put in columns by
their longest path, and an edge takes a place of its own in each column on its way; between two columns of boxes is one
of labels. Edges climb only between columns, so none runs through a box or a label.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
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
    places = _boxes(boxes, edges, groups)
    turned = {i for i, (source, target, _) in enumerate(edges) if places[source].column > places[target].column}
    ways = [_way(places, edge, i in turned, len(places) + len(groups) + i, len(edges)) for i, edge in enumerate(edges)]
    everything = places + [place for way in ways for place in way[1:-1]]
    columns: list[list[_Place]] = [[] for _ in range(max((p.column + 1 for p in everything), default=0))]
    for place in everything:
        columns[place.column].append(place)
    _order(columns)
    insides = [[p for p in everything if p.block == i] for i in range(len(groups))]
    _stand(columns, [group.label[1] for group in groups])

    widths = [max(p.width for p in column) for column in columns]
    for group, inside in zip(groups, insides, strict=True):
        first = min(p.column for p in inside)
        widths[first] = max(widths[first], group.label[0])
    spans, x = [], _MARGIN if groups else 0.0
    for column, width in zip(columns, widths, strict=True):
        spans.append((x, x + width))
        climb = max((abs(p.y - q.y) for p in column for q in p.after), default=0.0)
        x += width + min(max(_BEND, climb / 3), _CLIMB)
    frames = [
        (
            min(spans[p.column][0] for p in inside) - _MARGIN,
            min(p.y - p.above for p in inside) - _MARGIN - group.label[1],
            max(spans[p.column][1] for p in inside) + _MARGIN,
            max(p.y + p.below for p in inside) + _MARGIN,
        )
        for group, inside in zip(groups, insides, strict=True)
    ]
    right = max([right for _, right in spans] + [right for _, _, right, _ in frames], default=0.0)
    bottom = max([p.y + p.below for p in everything] + [bottom for *_, bottom in frames], default=0.0)
    return Layout(
        (right, bottom),
        tuple((sum(spans[p.column]) / 2, p.y) for p in places),
        tuple(
            _route(way, spans, i in turned, label) if way else _loop(places[source], spans, boxes[source], label)
            for i, (way, (source, _, label)) in enumerate(zip(ways, edges, strict=True))
        ),
        tuple(frames),
    )


def _boxes(boxes: Sequence[Size], edges: Sequence[tuple[int, int, Size]], groups: Sequence[Group]) -> list[_Place]:
    group = {member: i for i, group in enumerate(groups) for member in group.members}
    step = 1 if len(edges) > DENSE else 2
    places = []
    for i, (rank, (width, height)) in enumerate(zip(_ranks(len(boxes), edges), boxes, strict=True)):
        loop = max((_LOOP + label[1] for source, target, label in edges if source == target == i), default=0.0)
        callers = [group[source] for source, target, _ in edges if target == i and source in group]
        level = group.get(i, fmean(callers or [0]) + 0.5 if groups else 0)
        block = group.get(i, len(groups) + i if groups else 0)
        places.append(_Place(rank * step, block, level, width, height / 2 + loop, height / 2, _BOX_ROOM))
    return places


def _ranks(count: int, edges: Sequence[tuple[int, int, Size]]) -> list[int]:
    """A rank for every box: an edge leads to a higher one, unless a walk from the first boxes finds it to turn back."""
    out: list[list[int]] = [[] for _ in range(count)]
    for source, target, _ in edges:
        out[source].append(target)
    forward: list[list[int]] = [[] for _ in range(count)]
    incoming = [0] * count
    left: list[int] = []
    entered: set[int] = set()
    finished: set[int] = set()
    for root in range(count):
        walk = [] if root in entered else [(root, iter(out[root]))]
        entered.add(root)
        while walk:
            box, targets = walk[-1]
            if (target := next(targets, None)) is None:
                walk.pop()
                finished.add(box)
                left.append(box)
                continue
            if target not in entered:
                entered.add(target)
                walk.append((target, iter(out[target])))
            elif target not in finished:
                continue
            forward[box].append(target)
            incoming[target] += 1
    ranks = [0] * count
    for box in reversed(left):
        for target in forward[box]:
            ranks[target] = max(ranks[target], ranks[box] + 1)
    for box in left:  # shorter edges: who calls more than call it stands close to what it calls
        if len(forward[box]) > incoming[box]:
            ranks[box] = min(ranks[target] for target in forward[box]) - 1
    return ranks


def _way(places: list[_Place], edge: tuple[int, int, Size], turned: bool, block: int, edges: int) -> list[_Place]:
    """The places of an edge from left to right with those of its ends; none for an edge from a box to itself."""
    source, target, label = edge
    if source == target:
        return []
    start, end = (places[target], places[source]) if turned else (places[source], places[target])
    block = start.block if start.block == end.block else block
    middle = None if edges > DENSE or not label[0] else (start.column + end.column) // 4 * 2 + 1
    way = [start]
    for column in range(start.column + 1, end.column):
        width, above = (label[0], _LIFT + label[1] / 2) if column == middle else (0.0, 0.0)
        way.append(_Place(column, block, (start.level + end.level) / 2, width, above, 0.0, _LINE_ROOM))
    way.append(end)
    for one, other in pairwise(way):
        one.after.append(other)
        other.before.append(one)
    return way


def _order(columns: list[list[_Place]]) -> None:
    """Sort each column by where the neighbours stand, to and fro, and keep the order with the fewest crossings."""
    for column in columns:
        column.sort(key=lambda p: p.level)
        _settle(column, [0.0] * len(column))
    best, fewest = [list(column) for column in columns], _crossings(columns)
    for sweep in range(_SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            wanted = {p: _pull(p, p.before if sweep % 2 == 0 else p.after) for p in column}
            column.sort(key=lambda p: (p.level, wanted[p]))  # noqa: B023
            _settle(column, [wanted[p] for p in column])
        if (crossings := _crossings(columns)) < fewest:
            best, fewest = [list(column) for column in columns], crossings
    columns[:] = best


def _crossings(columns: list[list[_Place]]) -> int:
    total = 0
    for column in columns:
        at = {p: i for i, p in enumerate(q for c in columns[p.column + 1 : p.column + 2] for q in c)}
    return total


def _stand(columns, labels):
    ...
