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
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from math import inf
from statistics import fmean

from dynamo_nb.drawing.layout import DENSE, Group, Layout, Point, Route, Size

_BOX_ROOM, _LINE_ROOM = 13.0, 5.0
"""Kept free above and below a box, and a line with its label."""
_LIFT = 9.0
"""From a line up to the middle of its label."""
_LOOP = 22.0
"""How high an edge from a box to itself rises over it."""
_ASIDE = 8.0
"""Between edges that leave a box and edges that arrive at the same side of it."""
_TIP = 7.0
_MARGIN, _APART = 14.0, 12.0
"""From a frame to what is in it, and to the next frame."""
_BEND, _CLIMB = 24.0, 72.0
"""The room between columns: the least, and the most, for lines that climb far."""
_SWEEPS = 8
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
    turned: bool = False
    y: float = 0.0
    before: list[_Place] = field(default_factory=list)
    after: list[_Place] = field(default_factory=list)

    @property
    def line(self) -> bool:
        return self.room == _LINE_ROOM


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
    for source, target, label in edges:
        if source == target and len(edges) <= DENSE:
            widths[places[source].column] = max(widths[places[source].column], label[0])
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
            _route(way, spans, turned=i in turned) if way else _loop(places[source], spans, boxes[source][1], label)
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
    entered: set[int] = set()
    finished: dict[int, None] = {}
    for root in range(count):
        walk = [] if root in entered else [(root, iter(out[root]))]
        entered.add(root)
        while walk:
            box, targets = walk[-1]
            target = next(targets, -1)
            if target < 0:
                walk.pop()
                finished[box] = None
                continue
            if target not in entered:
                entered.add(target)
                walk.append((target, iter(out[target])))
            elif target not in finished:
                continue
            forward[box].append(target)
            incoming[target] += 1
    ranks = [0] * count
    for box in reversed(finished):
        for target in forward[box]:
            ranks[target] = max(ranks[target], ranks[box] + 1)
    for box in finished:  # shorter edges: who calls more than call it stands close to what it calls
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
    middle = -1 if edges > DENSE else (start.column + end.column) // 4 * 2 + 1
    way = [start]
    for column in range(start.column + 1, end.column):
        width, above = (label[0], _LIFT + label[1] / 2) if column == middle else (0.0, 0.0)
        way.append(_Place(column, block, (start.level + end.level) / 2, width, above, 0.0, _LINE_ROOM, turned))
    way.append(end)
    for one, other in pairwise(way):
        one.after.append(other)
        other.before.append(one)
    return way


def _order(columns: list[list[_Place]]) -> None:
    """Sort the columns so that few edges cross: each by where the neighbours in the one before it stand, or after."""
    for column in columns:
        column.sort(key=lambda place: place.level)
        _settle(column, [0.0] * len(column))
    best, fewest = list(map(tuple, columns)), _crossings(columns)
    for i in range(_SWEEPS):
        _sweep(columns, back=i % 2 == 1, alone=False)
        if (crossings := _crossings(columns)) < fewest:
            best, fewest = list(map(tuple, columns)), crossings
    columns[:] = map(list, best)


def _crossings(columns: list[list[_Place]]) -> int:
    total = 0
    for column, following in pairwise(columns):
        at = {id(place): i for i, place in enumerate(following)}
        seen: list[int] = []
        for place in column:
            ends = sorted(at[id(end)] for end in place.after)
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


def _stand(columns: list[list[_Place]], labels: Sequence[float]) -> None:
    """Give every place its y: first within its block, then the blocks are put one below the other where they meet."""
    blocks: dict[int, list[_Place]] = {}
    for place in (place for column in columns for place in column):
        blocks.setdefault(place.block, []).append(place)
    order = sorted(blocks, key=lambda block: (blocks[block][0].level, fmean(place.y for place in blocks[block])))
    floors = [-inf] * len(columns)
    stand: set[int] = set()
    top = inf
    for block in order:
        inside = blocks[block]
        parts = [list(part) for _, part in groupby(inside, key=lambda place: place.column)]
        _straighten(parts)
        head, foot = (labels[block] + _MARGIN, _MARGIN) if block < len(labels) else (0.0, 0.0)
        room = _APART / 2 if block < len(labels) else inside[0].room
        upper = min(place.y - place.above for place in inside) - head
        lower = max(place.y + place.below for place in inside) + foot
        reach = slice(inside[0].column, inside[-1].column + 1)
        pulls = [end.y - place.y for place in inside for end in place.before + place.after if end.block in stand]
        shift = max([fmean(pulls or [0.0])] + [floor - (upper - room) for floor in floors[reach]])
        for place in inside:
            place.y += shift
        floors[reach] = [lower + shift + room] * len(floors[reach])
        top = min(top, upper + shift)
        stand.add(block)
    for place in (place for column in columns for place in column):
        place.y -= top


def _straighten(columns: list[list[_Place]]) -> None:
    """Give the places of one block heights of their own."""
    for column in columns:
        _settle(column, [0.0] * len(column))
    for i in range(_SWEEPS):
        _sweep(columns, back=i % 2 == 1, alone=True)
    above = {id(lower): upper for column in columns for upper, lower in pairwise(column)}
    below = {id(upper): lower for column in columns for upper, lower in pairwise(column)}
    lines = [place for column in columns for place in column if place.line and not place.before[0].line]
    for start in lines * 2:  # the second time in the room that the others left
        line = [start]
        while line[-1].after[0].line:
            line.append(line[-1].after[0])
        least = max((above[id(p)].y + _apart(above[id(p)], p) for p in line if id(p) in above), default=-inf)
        most = min((below[id(p)].y - _apart(p, below[id(p)]) for p in line if id(p) in below), default=inf)
        if least <= most:
            y = min(max(fmean(place.y for place in line), least), most)
            for place in line:
                place.y = y


def _apart(upper: _Place, lower: _Place) -> float:
    return upper.below + upper.room + lower.room + lower.above


def _sweep(columns: list[list[_Place]], *, back: bool, alone: bool) -> None:
    """Move each place towards its neighbours in the column before it (back: after it), and sort the columns by that.

    alone: towards those of its block only, and in the order that they have.
    """
    for column in reversed(columns) if back else columns:
        wanted: dict[int, float] = {}
        for place in column:
            near = [p.y for p in (place.after if back else place.before) if not alone or p.block == place.block]
            wanted[id(place)] = fmean(near) if near else place.y
        if not alone:
            column.sort(key=lambda place: (place.level, wanted[id(place)]))
        _settle(column, [wanted[id(place)] for place in column])


def _settle(column: list[_Place], wanted: list[float]) -> None:
    """Put each place as near to where it is wanted as the others let it, by least squares: pool adjacent violators."""
    offset, offsets = 0.0, [0.0]
    for upper, lower in pairwise(column):
        offset += _apart(upper, lower)
        offsets.append(offset)
    pools: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        total, count = want - offset, 1
        while pools and pools[-1][0] / pools[-1][1] >= total / count:
            total, count = total + pools[-1][0], count + pools[-1][1]
            pools.pop()
        pools.append((total, count))
    starts = [total / count for total, count in pools for _ in range(count)]
    for place, start, offset in zip(column, starts, offsets, strict=True):
        place.y = start + offset


def _route(way: list[_Place], spans: list[Point], *, turned: bool) -> Route:
    """Level through the columns, climbing between them."""
    start, end = way[0], way[-1]
    left, right = sum(spans[start.column]) / 2 + start.width / 2, sum(spans[end.column]) / 2 - end.width / 2
    up, down = _port(start, way[1], start.after), _port(end, way[-2], end.before)
    knots = [(left, up), (max(left + _TIP, spans[start.column][1]), up)]
    knots += [(x, place.y) for place in way[1:-1] for x in spans[place.column]]
    knots += [(min(right - _TIP, spans[end.column][0]), down), (right, down)]
    if turned:
        knots.reverse()
    x, y = tip = knots.pop()
    knots.append((x + _TIP if turned else x - _TIP, y))
    points = knots[:1]
    for (x0, y0), (x1, y1) in pairwise(dict.fromkeys(knots)):
        points += [((x0 + x1) / 2, y0), ((x0 + x1) / 2, y1), (x1, y1)]
    labels = [(sum(spans[place.column]) / 2, place.y - _LIFT) for place in way[1:-1] if place.width]
    return Route(tuple(points), tip, labels[0] if labels else None)


def _port(box: _Place, place: _Place, side: list[_Place]) -> float:
    """Where an edge meets a box: in the middle, or beside each other where some edges leave and others arrive."""
    if not any(other.turned for other in side):
        return box.y
    at = sorted(side, key=lambda other: other.y).index(place)
    return box.y + (at - (len(side) - 1) / 2) * min(_ASIDE, (2 * box.below - _MARGIN) / len(side))


def _loop(place: _Place, spans: list[Point], height: float, label: Size) -> Route:
    x, top = sum(spans[place.column]) / 2, place.y - height / 2
    points = (x + 10, top), (x + 26, top - 1.3 * _LOOP), (x - 10, top - 1.3 * _LOOP), (x - 10, top - _TIP)
    return Route(points, (x - 10, top), (x, top - _LOOP - label[1] / 2))
