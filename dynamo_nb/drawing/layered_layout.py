"""The layout of a graph: boxes in columns, every edge from left to right, groups in frames.

This is the method of Sugiyama, Tagawa and Toda (1981): edges that close a cycle are turned, boxes get columns by their
longest path (`ranks`), an edge takes a slot in each column on its way, and slots are sorted so that few edges cross
(`ordering`). Between two columns of boxes is a column of labels. Edges change their height only between columns, so
none runs through a box or a label.

Graphviz is not used: the wheels of pygraphviz need libraries of X11, GLib and Expat, which slim images do not have, and
measured on 3 to 200 services its drawings are not better. Of the layouts in pure Python, grandalf supports neither
labels nor groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from math import inf
from statistics import fmean

from dynamo_nb.drawing.layout import DENSE, Group, Layout, Point, Route, Size
from dynamo_nb.drawing.ordering import SWEEPS, order
from dynamo_nb.drawing.ranks import ranks
from dynamo_nb.drawing.slots import BOX_GAP, LINE_GAP, Block, Columns, Slot, distance, settle, sweep

_LIFT = 9.0
"""From a line up to the middle of its label."""
_LOOP = 22.0
"""Height of an edge from a box to itself."""
_ASIDE = 8.0
"""Between edges that leave a box and edges that arrive at the same side of it."""
_TIP = 7.0
_MARGIN, _APART = 14.0, 12.0
"""From a frame to its content, and to the next frame."""
_BEND, _CLIMB = 24.0, 72.0
"""Least space between columns, and most, for lines that climb far."""
_STEP = 32.0
"""A smaller change of height between two columns is not drawn, so that an edge has few bends."""

Edge = tuple[int, int, Size]


def lay_out(boxes: Sequence[Size], edges: Sequence[Edge], groups: Sequence[Group] = ()) -> Layout:
    """Returns the positions of boxes, edges and groups, the same for the same arguments.

    Args:
        boxes: width and height of each box, in pixels.
        edges: source and target as indices of boxes, and the size of the label.
        groups: boxes to keep together in a frame; a box is in at most one.
    """
    dense = len(edges) > DENSE
    units = _units(len(boxes), groups)
    blocks = [Block(float(i), groups[i].label[1] if i < len(groups) else None) for i in range(len(units))]
    slots = _slots(boxes, edges, units, blocks)
    turned = {i for i, (source, target, _) in enumerate(edges) if slots[source].column > slots[target].column}
    paths = [_path(slots, edge, turned=i in turned, labelled=not dense) for i, edge in enumerate(edges)]
    everything = slots + [slot for path in paths for slot in path[1:-1]]
    columns: Columns = [[] for _ in range(max((slot.column + 1 for slot in everything), default=0))]
    for slot in everything:
        columns[slot.column].append(slot)
    order(columns, blocks, list({slot.block: None for slot in everything if slot.block.ends}))
    _stack(columns)

    widths = [max(slot.width for slot in column) for column in columns]
    for source, target, label in edges:
        if source == target and not dense:
            widths[slots[source].column] = max(widths[slots[source].column], label[0])
    insides = [[slot for slot in everything if slot.block is block] for block in blocks[: len(groups)]]
    for group, block in zip(groups, blocks, strict=False):
        widths[block.first] = max(widths[block.first], group.label[0])
    spans = _spans(columns, widths, blocks[: len(groups)])
    frames = [
        (
            spans[block.first][0] - _MARGIN,
            min(slot.y - slot.above for slot in inside) - _MARGIN - group.label[1],
            spans[block.last][1] + _MARGIN,
            max(slot.y + slot.below for slot in inside) + _MARGIN,
        )
        for group, block, inside in zip(groups, blocks, insides, strict=False)
    ]
    right = max([right for _, right in spans] + [right for _, _, right, _ in frames], default=0.0)
    bottom = max([slot.y + slot.below for slot in everything] + [bottom for *_, bottom in frames], default=0.0)
    return Layout(
        (right, bottom),
        tuple((sum(spans[slot.column]) / 2, slot.y) for slot in slots),
        tuple(
            _route(path, spans, turned=i in turned) if path else _loop(slots[source], spans, boxes[source][1], label)
            for i, (path, (source, _, label)) in enumerate(zip(paths, edges, strict=True))
        ),
        tuple(frames),
    )


def _units(count: int, groups: Sequence[Group]) -> list[Sequence[int]]:
    """The boxes of each group, then each box of no group; without groups all boxes are one unit."""
    if not groups:
        return [range(count)]
    grouped = {member for group in groups for member in group.members}
    return [*(group.members for group in groups), *([i] for i in range(count) if i not in grouped)]


def _slots(
    boxes: Sequence[Size], edges: Sequence[Edge], units: Sequence[Sequence[int]], blocks: Sequence[Block]
) -> list[Slot]:
    """A slot for each box, in its column."""
    step = 1 if len(edges) > DENSE else 2
    found = ranks(len(boxes), [(source, target) for source, target, _ in edges], units)
    block_of = {box: block for unit, block in zip(units, blocks, strict=True) for box in unit}
    loops = {source: _LOOP + label[1] for source, target, label in edges if source == target}
    for unit, block in zip(units, blocks, strict=True):
        block.first = min((found[box] * step for box in unit), default=0)
        block.last = max((found[box] * step for box in unit), default=0)
    return [
        Slot(rank * step, block_of[i], width, height / 2 + loops.get(i, 0.0), height / 2, BOX_GAP)
        for i, (rank, (width, height)) in enumerate(zip(found, boxes, strict=True))
    ]


def _path(slots: Sequence[Slot], edge: Edge, *, turned: bool, labelled: bool) -> list[Slot]:
    """The slots of an edge from left to right with those of its ends; none for an edge from a box to itself."""
    source, target, label = edge
    if source == target:
        return []
    start, end = (slots[target], slots[source]) if turned else (slots[source], slots[target])
    between = Block(ends=(start.block, end.block))
    middle = (start.column + end.column) // 4 * 2 + 1 if labelled else -1
    path = [start]
    for column in range(start.column + 1, end.column):
        width, above = (label[0], _LIFT + label[1] / 2) if column == middle else (0.0, 0.0)
        block = start.block if column <= start.block.last else end.block if column >= end.block.first else between
        path.append(Slot(column, block, width, above, 0.0, LINE_GAP, turned))
    path.append(end)
    for one, other in pairwise(path):
        one.after.append(other)
        other.before.append(one)
    return path


def _spans(columns: Columns, widths: Sequence[float], blocks: Sequence[Block]) -> list[Point]:
    """Left and right of each column."""
    ends, starts = {block.last for block in blocks}, {block.first for block in blocks}
    spans, x = [], _MARGIN if blocks else 0.0
    for i, (column, width) in enumerate(zip(columns, widths, strict=True)):
        spans.append((x, x + width))
        climb = max((abs(one.y - other.y) for one in column for other in one.after), default=0.0)
        framed = 2 * _MARGIN + _APART if i in ends and i + 1 in starts else _BEND
        x += width + min(max(framed, climb / 3), _CLIMB)
    return spans


def _stack(columns: Columns) -> None:
    """Sets the y of every slot: each block is put below those that are above it in the same columns."""
    blocks: dict[Block, list[Slot]] = {}
    for slot in (slot for column in columns for slot in column):
        blocks.setdefault(slot.block, []).append(slot)
    floors = [-inf] * len(columns)
    stacked: set[Block] = set()
    top = inf
    for block in sorted(blocks, key=lambda block: (block.level, fmean(slot.y for slot in blocks[block]))):
        put = _put_group if block.ends is None else _put_line
        top = min(top, put(blocks[block], floors, stacked))
        stacked.add(block)
    for slot in (slot for column in columns for slot in column):
        slot.y -= top


def _put_group(inside: list[Slot], floors: list[float], stacked: set[Block]) -> float:
    """Moves the slots of a group together, near to the other ends of its edges. Returns its top."""
    _straighten([list(part) for _, part in groupby(inside, key=lambda slot: slot.column)])
    block = inside[0].block
    head, foot, gap = (block.label + _MARGIN, _MARGIN, _APART / 2) if block.label is not None else (0.0, 0.0, BOX_GAP)
    upper = min(slot.y - slot.above for slot in inside) - head
    lower = max(slot.y + slot.below for slot in inside) + foot
    reach = slice(inside[0].column, inside[-1].column + 1)
    pulls = [end.y - slot.y for slot in inside for end in slot.before + slot.after if end.block in stacked]
    shift = max([fmean(pulls or [0.0])] + [floor - (upper - gap) for floor in floors[reach]])
    for slot in inside:
        slot.y += shift
    floors[reach] = [lower + shift + gap] * len(floors[reach])
    return upper + shift


def _put_line(line: list[Slot], floors: list[float], stacked: set[Block]) -> float:
    """Leads an edge from group to group: level where there is space, else below what is there. Returns its top."""
    y = fmean([end.y for slot in (line[0], line[-1]) for end in slot.before + slot.after if end.block in stacked])
    for slot in line:
        slot.y = max(y, floors[slot.column] + slot.gap + slot.above)
    for one, other in (*pairwise(line), *pairwise(reversed(line))):
        if 0 < one.y - other.y < _STEP:
            other.y = one.y
    for slot in line:
        floors[slot.column] = slot.y + slot.below + slot.gap
    return min(slot.y - slot.above for slot in line)


def _straighten(columns: Columns) -> None:
    """Sets the y of the slots of one block, relative to each other."""
    for column in columns:
        settle(column, [0.0] * len(column))
    for i in range(SWEEPS):
        sweep(columns, back=i % 2 == 1)
    above = {id(lower): upper for column in columns for upper, lower in pairwise(column)}
    below = {id(upper): lower for column in columns for upper, lower in pairwise(column)}
    starts = [slot for column in columns for slot in column if slot.line and not _continues(slot.before[0], slot)]
    for start in starts * 2:  # the second time in the space that the others left
        line = list(_line(start))
        least = max((above[id(s)].y + distance(above[id(s)], s) for s in line if id(s) in above), default=-inf)
        most = min((below[id(s)].y - distance(s, below[id(s)]) for s in line if id(s) in below), default=inf)
        if least <= most:
            y = min(max(fmean(slot.y for slot in line), least), most)
            for slot in line:
                slot.y = y


def _continues(one: Slot, other: Slot) -> bool:
    return one.line and other.line and one.block is other.block


def _line(start: Slot) -> Iterable[Slot]:
    """The slots of an edge from here to the end of its block."""
    yield start
    while _continues(start, start.after[0]):
        start = start.after[0]
        yield start


def _route(path: list[Slot], spans: list[Point], *, turned: bool) -> Route:
    """Level through the columns, climbing between them."""
    start, end = path[0], path[-1]
    left, right = sum(spans[start.column]) / 2 + start.width / 2, sum(spans[end.column]) / 2 - end.width / 2
    up, down = _port(start, path[1], start.after), _port(end, path[-2], end.before)
    knots = [(left, up), (max(left + _TIP, spans[start.column][1]), up)]
    knots += [(x, slot.y) for slot in path[1:-1] for x in spans[slot.column]]
    knots += [(min(right - _TIP, spans[end.column][0]), down), (right, down)]
    if turned:
        knots.reverse()
    x, y = tip = knots.pop()
    knots.append((x + _TIP if turned else x - _TIP, y))
    points = knots[:1]
    for (x0, y0), (x1, y1) in pairwise(dict.fromkeys(knots)):
        points += [((x0 + x1) / 2, y0), ((x0 + x1) / 2, y1), (x1, y1)]
    labels = [(sum(spans[slot.column]) / 2, slot.y - _LIFT) for slot in path[1:-1] if slot.width]
    return Route(tuple(points), tip, labels[0] if labels else None)


def _port(box: Slot, slot: Slot, side: list[Slot]) -> float:
    """The y at which an edge meets a box: the middle, or spread if some edges leave and others arrive on this side."""
    if not any(other.turned for other in side):
        return box.y
    at = sorted(side, key=lambda other: other.y).index(slot)
    return box.y + (at - (len(side) - 1) / 2) * min(_ASIDE, (2 * box.below - _MARGIN) / len(side))


def _loop(slot: Slot, spans: list[Point], height: float, label: Size) -> Route:
    x, top = sum(spans[slot.column]) / 2, slot.y - height / 2
    points = (x + 10, top), (x + 26, top - 1.3 * _LOOP), (x - 10, top - 1.3 * _LOOP), (x - 10, top - _TIP)
    return Route(points, (x - 10, top), (x, top - _LOOP - label[1] / 2))
