"""The order of the slots in each column of a layered layout, so that few edges cross."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from operator import attrgetter

from dynamo_nb.drawing.slots import Block, Columns, Slot

SWEEPS = 8
"""Passes to the right and to the left; a drawing of a dozen boxes no longer changes after four."""
_TRIAL_SWEEPS = 2
"""Passes with which two orders of the groups are compared."""
_SEARCHED = 12
"""Groups whose order is searched; more of them stay in the order of the arguments."""
_LEVEL_AND_PLACE = attrgetter("block.level", "y")


def order(columns: Columns, units: Sequence[Block], parts: Sequence[Block]) -> None:
    """Sorts the columns. units: the blocks of groups. parts: those of edges between groups."""
    if 1 < len(units) <= _SEARCHED:
        _order_units(columns, units, parts)
    start = list(map(tuple, columns))
    crossings = _sort(columns, parts)
    best = list(map(tuple, columns))
    columns[:] = map(list, start)
    if _sort(columns, parts, back=True) >= crossings:
        columns[:] = map(list, best)


def _order_units(columns: Columns, units: Sequence[Block], parts: Sequence[Block]) -> None:
    """Exchanges the levels of neighbouring groups as long as fewer edges cross then."""
    fewest, improved = _sort(columns, parts, trial=True), True
    while improved:
        improved = False
        for upper, lower in pairwise(sorted(units, key=lambda block: block.level)):
            before = list(map(tuple, columns))
            upper.level, lower.level = lower.level, upper.level
            if (crossings := _sort(columns, parts, trial=True)) < fewest:
                fewest, improved = crossings, True
                break
            upper.level, lower.level = lower.level, upper.level
            columns[:] = map(list, before)


def _sort(columns: Columns, parts: Sequence[Block], *, back: bool = False, trial: bool = False) -> int:
    """Sorts each column by the neighbours of its slots; returns the number of crossings. back: begins at the right."""
    for part in parts:
        part.set_level()
    for column in columns:
        column.sort(key=lambda slot: slot.block.level)
        _spread(column)
    best, fewest = list(map(tuple, columns)), _crossings(columns)
    last = 0
    for i in range(_TRIAL_SWEEPS if trial else SWEEPS):
        _sweep(columns, back=(i % 2 == 1) != back)
        if not trial:
            _exchange(columns)
        if (crossings := _crossings(columns)) < fewest:
            best, fewest, last = list(map(tuple, columns)), crossings, i
        elif i - last >= 2:  # neither direction helps
            break
    columns[:] = map(list, best)
    return fewest


def _sweep(columns: Columns, *, back: bool) -> None:
    """Sorts each column by the mean place of the neighbours in the column before it. back: in the column after it."""
    for column in reversed(columns) if back else columns:
        for slot in column:
            if near := slot.after if back else slot.before:
                slot.y = sum([neighbour.y for neighbour in near]) / len(near)
        column.sort(key=_LEVEL_AND_PLACE)
        _spread(column)


def _spread(column: Sequence[Slot]) -> None:
    """Puts the slots of a column one below the other, around zero. `layered_layout` decides where they end up."""
    y = -sum([slot.above + slot.below + 2 * slot.gap for slot in column]) / 2
    for slot in column:
        slot.y = y + slot.gap + slot.above
        y = slot.y + slot.below + slot.gap


def _crossings(columns: Columns) -> int:
    total = 0
    for column, following in pairwise(columns):
        _number(following)
        seen: list[int] = []
        for slot in column:
            for end in sorted([end.index for end in slot.after]):
                place = bisect_right(seen, end)
                total += len(seen) - place
                seen.insert(place, end)
    return total


def _number(column: Sequence[Slot]) -> None:
    for i, slot in enumerate(column):
        slot.index = i


def _exchange(columns: Columns) -> None:
    """Exchanges neighbours in a column where fewer edges cross then."""
    for column in columns:
        _number(column)
    for column in columns:
        changed = False
        for i in range(len(column) - 1):
            upper, lower = column[i : i + 2]
            if upper.block.level == lower.block.level and _saved(upper, lower) > 0:
                column[i : i + 2] = lower, upper
                lower.index, upper.index = i, i + 1
                changed = True
        if changed:
            _spread(column)


def _saved(upper: Slot, lower: Slot) -> int:
    """The crossings fewer if two neighbours are exchanged."""
    saved = 0
    for ends, others in ((upper.before, lower.before), (upper.after, lower.after)):
        for a in ends:
            for b in others:
                saved += (a.index > b.index) - (a.index < b.index)
    return saved
