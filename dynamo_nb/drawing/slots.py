"""Slots in the columns of a layered layout, and blocks of slots that stay together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean

BOX_GAP, LINE_GAP = 13.0, 5.0
"""Free pixels above and below a box, and above and below an edge with its label."""


@dataclass(eq=False, slots=True)
class Block:
    """Slots that stay together: those of a group, or of the part of an edge between two groups.

    level: a block of a lower level is above the others. label: height of the group's label, None without a frame.
    ends: for an edge, the blocks at its left and right end.
    """

    level: float = 0.0
    label: float | None = None
    ends: tuple[Block, Block] | None = None
    first: int = 0
    last: int = 0

    def set_level(self) -> None:
        """An edge is between the groups that it connects, and not beside a third one."""
        if self.ends is not None:
            level = (self.ends[0].level + self.ends[1].level) / 2
            self.level = level if level % 1 else level + 0.5


@dataclass(eq=False, slots=True)
class Slot:
    """Takes space in a column from y - above to y + below: a box, or an edge on its way through the column.

    turned: the edge closes a cycle, so it leads from right to left. index: place in the column, while it is ordered.
    """

    column: int
    block: Block
    width: float
    above: float
    below: float
    gap: float
    turned: bool = False
    y: float = 0.0
    index: int = 0
    before: list[Slot] = field(default_factory=list)
    after: list[Slot] = field(default_factory=list)

    @property
    def line(self) -> bool:
        return self.gap == LINE_GAP


Columns = list[list[Slot]]


def distance(upper: Slot, lower: Slot) -> float:
    """The least from the y of one slot to the y of the next one."""
    return upper.below + upper.gap + lower.gap + lower.above


def sweep(columns: Columns, *, back: bool) -> None:
    """Moves each slot towards its neighbours of the same block in the column before it.

    back: towards the neighbours in the column after it.
    """
    for column in reversed(columns) if back else columns:
        targets: list[float] = []
        for slot in column:
            near = [s.y for s in (slot.after if back else slot.before) if s.block is slot.block]
            targets.append(fmean(near) if near else slot.y)
        settle(column, targets)


def settle(column: Sequence[Slot], targets: Sequence[float]) -> None:
    """Moves each slot as near to its target as the others allow, by least squares: pool adjacent violators."""
    offset, offsets = 0.0, [0.0]
    for upper, lower in pairwise(column):
        offset += distance(upper, lower)
        offsets.append(offset)
    pools: list[tuple[float, int]] = []
    for target, offset in zip(targets, offsets, strict=True):
        total, count = target - offset, 1
        while pools and pools[-1][0] / pools[-1][1] >= total / count:
            total, count = total + pools[-1][0], count + pools[-1][1]
            pools.pop()
        pools.append((total, count))
    starts = [total / count for total, count in pools for _ in range(count)]
    for slot, start, offset in zip(column, starts, offsets, strict=True):
        slot.y = start + offset
