"""The order of the slots in each column of a layered layout, so that few edges cross."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from itertools import pairwise

from dynamo_nb.drawing.slots import Block, Columns, Slot, settle, sweep

SWEEPS = 8
"""Passes to the right and to the left; a drawing of a dozen boxes no longer changes after four."""
_TRIAL_SWEEPS = 2
"""Passes with which two orders of the groups are compared."""
_SEARCHED = 12
"""Groups whose order is searched; more of them stay in the order of the arguments."""


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
        settle(column, [0.0] * len(column))
    best, fewest = list(map(tuple, columns)), _crossings(columns)
    for i in range(_TRIAL_SWEEPS if trial else SWEEPS):
        sweep(columns, back=(i % 2 == 1) != back, own_block=False)
        if not trial:
            _exchange(columns)
        if (crossings := _crossings(columns)) < fewest:
            best, fewest = list(map(tuple, columns)), crossings
    columns[:] = map(list, best)
    return fewest


def _crossings(columns: Columns) -> int:
    total = 0
    for column, following in pairwise(columns):
        at = {id(slot): i for i, slot in enumerate(following)}
        seen: list[int] = []
        for slot in column:
            ends = sorted(at[id(end)] for end in slot.after)
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


def _exchange(columns: Columns) -> None:
    """Exchanges neighbours in a column where fewer edges cross then."""
    at = {id(slot): i for column in columns for i, slot in enumerate(column)}
    for column in columns:
        changed = False
        for i in range(len(column) - 1):
            upper, lower = column[i : i + 2]
            if upper.block.level == lower.block.level and _cross(upper, lower, at) > _cross(lower, upper, at):
                column[i : i + 2] = lower, upper
                at[id(lower)], at[id(upper)] = i, i + 1
                changed = True
        if changed:
            settle(column, [slot.y for slot in column])


def _cross(upper: Slot, lower: Slot, at: dict[int, int]) -> int:
    pairs = ((upper.before, lower.before), (upper.after, lower.after))
    return sum(at[id(a)] > at[id(b)] for ends, others in pairs for a in ends for b in others)
