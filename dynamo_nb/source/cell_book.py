"""CellBook: the cells of a live notebook that are in effect."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from dynamo_nb.source.cells import Cell
from dynamo_nb.source.names import ANNOTATION, SOFT
from dynamo_nb.source.statements import parse

_EARLIER_RUNS = 20
"""Earlier runs of a cell that are kept for notes."""


class CellBook:
    """The cells that a live notebook has run, in order of execution: the last run of each."""

    def __init__(self) -> None:
        self._cells: tuple[Cell, ...] = ()

    def record(self, cell: Cell) -> None:
        """Adds a cell that has run."""
        self._cells = self.followed_by(cell)

    def followed_by(self, cell: Cell) -> tuple[Cell, ...]:
        """The cells after a run of `cell`.

        It replaces its earlier runs, except if it failed: then the definitions of the earlier runs are still in use.
        Without an id, a second run looks like a second cell with the same text. It replaces the first only if running
        it twice has the same result as running it once: `n = n * 2` does not.
        """
        replaces = cell.failed_at is None and (cell.cell_id is not None or runs_again_alike(cell.text))
        replaced = [known for known in self._cells if replaces and known.key == cell.key]
        runs = [run for known in replaced for run in (*known.earlier, replace(known, earlier=()))]
        kept = [known for known in self._cells if known not in replaced]
        return (*kept, replace(cell, earlier=tuple(runs[-_EARLIER_RUNS:])))

    def forget(self, cell_ids: Collection[str]) -> None:
        """Removes cells that were deleted from the notebook."""
        self._cells = tuple(known for known in self._cells if known.cell_id not in cell_ids)

    @property
    def cells(self) -> tuple[Cell, ...]:
        return self._cells

    def __iter__(self) -> Iterator[Cell]:
        return iter(self._cells)

    def __len__(self) -> int:
        return len(self._cells)


def runs_again_alike(text: str) -> bool:
    """True if a second run of a cell has the same result: it changes no value that an earlier run made."""
    statements = parse(text).statements
    bound = frozenset[str]().union(*(one.names.binds | one.names.appends for one in statements))
    created: set[str] = set()
    for names in (one.names for one in statements):
        read = {use.name for use in names.uses if not use.later and use.how not in (ANNOTATION, SOFT)}
        if (read & bound | names.changes | names.appends) - created:
            return False
        created |= names.binds
    return True
