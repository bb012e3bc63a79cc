"""The source of plans of an attached deployment: its snapshot, and the cells that have run since."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dynamo_nb.config.layers import Layer
from dynamo_nb.deployment.plan import Plan
from dynamo_nb.deployment.plan_source import NotebookCells, PlanSource
from dynamo_nb.deployment.snapshot import Snapshot
from dynamo_nb.errors import DefinitionError
from dynamo_nb.program import CellsSource, Program, TargetSource, live, read_again
from dynamo_nb.sdk.definition import is_service
from dynamo_nb.sdk.links import LinkBook, links_in
from dynamo_nb.sdk.origin import Origin
from dynamo_nb.source import Cell
from dynamo_nb.source.headers import CONFIG, config_layers, header_of


def restored_source(snapshot: Snapshot, plan: Plan, notebook: NotebookCells | None) -> PlanSource:
    """Returns the source of further plans.

    Args:
        snapshot: Snapshot of the plan that is served.
        plan: The plan, restored from the snapshot.
        notebook: The notebook that attaches; None in a script or terminal.
    """
    source, namespace, only = snapshot.source, snapshot.namespace, snapshot.only
    if isinstance(source, TargetSource):
        return RestoredTarget(snapshot=snapshot, source=source, namespace=namespace, only=only)
    return RestoredCells(
        snapshot=snapshot,
        source=source,
        restored=plan.program,
        notebook=notebook or _NoNotebook(),
        namespace=namespace,
        only=only,
    )


@dataclass(frozen=True, kw_only=True)
class RestoredTarget(PlanSource):
    """A target in files. They are read again for each plan; `update` asks for one.

    Attributes:
        snapshot: Snapshot of the plan that was served.
        source: The target.
    """

    snapshot: Snapshot
    source: TargetSource

    def program(self) -> Program:
        return read_again(self.source)

    def layers(self) -> list[Layer]:
        return [*self.snapshot.user_layers(), *super().layers()]

    def follows(self) -> bool:
        return False


@dataclass(frozen=True, kw_only=True)
class RestoredCells(PlanSource):
    """Cells from before the kernel restart, and those that have run since.

    An old cell, its links and its configuration stay in effect until the cell runs again. So a notebook that has run
    again in part results in the whole graph, with the changes. Until a cell has defined the entry again, the restored
    program is used.

    Attributes:
        snapshot: Snapshot of the plan that was served.
        source: The old cells.
        restored: The program of the restored plan.
        notebook: The cells that have run since.
    """

    snapshot: Snapshot
    source: CellsSource
    restored: Program
    notebook: NotebookCells

    def program(self) -> Program:
        cells = self._cells()
        entry = self._entry()
        if entry is None:
            return replace(self.restored, layers=config_layers(cell for cell in cells if cell.failed_at is None))
        program = live(entry, self.notebook.names, cells, self.source.name, self._links())
        # The configuration may name services whose cells have not run again.
        return replace(program, graph=replace(program.graph, known=program.graph.known | {*self.source.known}))

    def layers(self) -> list[Layer]:
        return [*self.snapshot.user_layers(), *super().layers()]

    def follows(self) -> bool:
        if self._entry() is None:
            return False
        try:
            self.program()
        except DefinitionError:  # a dependency may name a service whose cell has not run again
            return self._all_ran()
        return True

    def _entry(self) -> type | None:
        found = self.notebook.names.get(self.source.entry)
        return found if is_service(found) else None

    def _all_ran(self) -> bool:
        """True if every old cell has run again."""
        keys = {cell.key for cell in self.notebook.cells()}
        return all(cell.key in keys for cell in self.source.cells)

    def _cells(self) -> list[Cell]:
        """The old cells, replaced by their later runs, and the new cells. Deleted configuration cells are left out."""
        new = {cell.key: cell for cell in self.notebook.cells()}
        if self._all_ran():
            return list(new.values())
        old = {
            cell.key: cell
            for cell in self.source.cells
            if cell.cell_id not in self.notebook.deleted or header_of(cell.text, CONFIG) is None or cell.key in new
        }
        return [*(new.get(key, cell) for key, cell in old.items()), *(c for key, c in new.items() if key not in old)]

    def _links(self) -> LinkBook:
        """The new links, and the old links of services that have no new ones."""
        new, merged = links_in(self.notebook.names), LinkBook()
        merged.forced = set(new.forced)
        for source, target in new:
            if (origin := new.origin(source, target)) is not None:
                merged.add(source, target, origin, new.classes.get(target))
        ran = {cell.key for cell in self.notebook.cells()}
        for source, target, key, place in self.source.links:
            if not new.targets(source) and key not in ran:
                merged.add(source, target, Origin(key, place))
        return merged


class _NoNotebook:
    """In place of the notebook if a script or terminal attaches: no cell has run."""

    names: Mapping[str, Any] = {}
    deleted: Collection[str] = ()

    def cells(self) -> Sequence[Cell]:
        return ()
