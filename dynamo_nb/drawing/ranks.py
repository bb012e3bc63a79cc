"""Which column each box of a layered layout is in: edges lead to a later column, except those that close a cycle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

Pair = tuple[int, int]


def ranks(count: int, pairs: Sequence[Pair], units: Sequence[Sequence[int]]) -> list[int]:
    """The rank of every box, from 0.

    Boxes of one unit are ranked by the edges inside it, then each unit is moved to the right of the units that call it.
    So a unit takes few columns, and two units can be side by side.

    Args:
        count: number of boxes.
        pairs: source and target of every edge, as indices of boxes. An edge from a box to itself is ignored.
        units: the boxes of each group; every box is in exactly one unit.
    """
    unit_of = {box: unit for unit, boxes in enumerate(units) for box in boxes}
    found = _ranks(count, [pair for pair in pairs if unit_of[pair[0]] == unit_of[pair[1]]])
    for boxes in units:
        first = min((found[box] for box in boxes), default=0)
        for box in boxes:
            found[box] -= first
    between = [(source, target) for source, target in pairs if unit_of[source] != unit_of[target]]
    edges = Counter((unit_of[source], unit_of[target]) for source, target in between)
    forward, finished = _forward(
        len(units), [(a, b) for a, b in edges if (edges[a, b], b) > (edges[b, a], a)]
    )  # most edges between two units lead to the right
    placed: set[int] = set()
    for unit in reversed(finished):
        calls = [pair for pair in between if unit_of[pair[1]] == unit and unit in forward[unit_of[pair[0]]]]
        offset = max([0, *(found[source] + 1 - found[target] for source, target in calls)])
        blocked = {
            found[other] - found[own]
            for pair in between
            for own, other in (pair, pair[::-1])
            if unit_of[own] == unit and unit_of[other] in placed
        }
        while offset in blocked:  # both ends of an edge would be in one column
            offset += 1
        for box in units[unit]:
            found[box] += offset
        placed.add(unit)
    return found


def _ranks(count: int, pairs: Iterable[Pair]) -> list[int]:
    """The longest path to each box."""
    forward, finished = _forward(count, pairs)
    incoming = Counter(target for targets in forward for target in targets)
    found = [0] * count
    for box in reversed(finished):
        for target in forward[box]:
            found[target] = max(found[target], found[box] + 1)
    for box in finished:  # shorter edges: a box with more targets than sources moves close to its targets
        if len(forward[box]) > incoming[box]:
            found[box] = min(found[target] for target in forward[box]) - 1
    return found


def _forward(count: int, pairs: Iterable[Pair]) -> tuple[list[list[int]], list[int]]:
    """The targets of each node without the edges that close a cycle, and the nodes, targets before sources."""
    out: list[list[int]] = [[] for _ in range(count)]
    for source, target in pairs:
        out[source].append(target)
    forward: list[list[int]] = [[] for _ in range(count)]
    entered: set[int] = set()
    finished: dict[int, None] = {}
    for root in range(count):
        walk = [] if root in entered else [(root, iter(out[root]))]
        entered.add(root)
        while walk:
            node, targets = walk[-1]
            target = next(targets, -1)
            if target < 0:
                walk.pop()
                finished[node] = None
                continue
            if target not in entered:
                entered.add(target)
                walk.append((target, iter(out[target])))
            elif target not in finished:
                continue
            forward[node].append(target)
    return forward, list(finished)
