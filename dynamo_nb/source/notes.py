"""Notes about differences between a notebook and the modules that workers import."""

from __future__ import annotations

import ast
from collections.abc import Callable, Container, Iterable, Iterator, Mapping

from dynamo_nb.source.bindings import Bindings
from dynamo_nb.source.effects import Effects
from dynamo_nb.source.events import Events
from dynamo_nb.source.layout import Closure
from dynamo_nb.source.statements import Unit

_SHOWN = 60
"""Characters of a statement in a note."""


def unclear_effects(effects: Effects, closures: Mapping[str, Closure]) -> Iterator[str]:
    """Calls that may change an object that a service needs, or only use it."""
    used = {unit for closure in closures.values() for unit in closure}
    needed = {edge.name for closure in closures.values() for edges in closure.values() for edge in edges}
    for unit, names in effects.unclear:
        if unit in used and (changed := sorted(names & needed)):
            verdict = f"may change {', '.join(changed)}, so it runs in workers too"
            yield f"{unit.location()}: `{_shown(unit)}` {verdict}; where it only uses it, assign its value to a name"
    for unit, names in effects.left_out:
        if unit not in used and (changed := sorted(names & needed)):
            why = "`await` at the top of a cell" if unit.names.await_line else "run it; a start hook can"
            verdict = f"may change {', '.join(changed)} in the notebook only: workers do not {why}"
            yield f"{unit.location()}: `{_shown(unit)}` {verdict}"


def unknown_names(units: Iterable[Unit], closures: Mapping[str, Closure]) -> Iterator[str]:
    """Calls outside the services' code that may bind any name, such as `exec(code)`."""
    used = {unit for closure in closures.values() for unit in closure}
    for unit in units:
        if unit.names.unknown_line and unit not in used:
            verdict = "may set any name, in the notebook only: assign the names that services use in a cell"
            yield f"{unit.location(unit.names.unknown_line)}: `{_shown(unit)}` {verdict}"


def kernel_values(events: Events, closures: Mapping[str, Closure], *, in_kernel: bool) -> Iterator[str]:
    """Statements that have another value each time, such as the time. in_kernel: the cells ran in this process."""
    used = sorted({unit for closure in closures.values() for unit in closure}, key=lambda unit: unit.position)
    for unit in used:
        if unit in events.from_kernel:
            yield f"{unit.location()}: workers get the notebook's value of {', '.join(sorted(unit.names.binds))}"
        elif unit in events.repeated:
            remedy = "assign a plain value to a name" if in_kernel else "write it into the cell, or configure it"
            yield f"{unit.location()}: `{_shown(unit)}` has another value in each worker; to share one value, {remedy}"


def still_in_effect(units: Iterable[Unit], again: Container[str]) -> Iterator[str]:
    """Effects of earlier runs of cells that the kernel still has.

    units: those that have another effect for it. again: the texts of the statements in the last runs.
    """
    seen = set()
    for unit in sorted(units, key=lambda unit: (unit.cell.number, unit.statement.line)):
        fixed = _is_fixed(unit) and unit.statement.text in again
        if not fixed and (key := (unit.cell.label, unit.statement.line)) not in seen:
            seen.add(key)
            what = f"`{_shown(unit)}` has another effect in the notebook, which still has earlier runs of its cells"
            yield f"{unit.location()}: {what}; workers have the last run of each: restart the kernel and run all cells"


def _is_fixed(unit: Unit) -> bool:
    """True if a statement only binds a name, so that a second run of it is of no effect."""
    node = unit.statement.node
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return not node.decorator_list and not unit.names.changes
    return isinstance(node, ast.Import | ast.ImportFrom)


def _shown(unit: Unit) -> str:
    return f"{ast.unparse(unit.statement.node).partition(chr(10))[0]:.{_SHOWN}}"


def rebound_names(
    bindings: Bindings, roots: Mapping[str, Unit], closures: Mapping[str, Closure], class_unit: Callable[[Unit], Unit]
) -> Iterator[str]:
    """Names that two cells define, with the cell whose definition counts. class_unit: of an interface."""
    seen = dict(roots)
    for edge in (edge for closure in closures.values() for edges in closure.values() for edge in edges):
        seen[edge.name] = max(edge.target, seen.get(edge.name, edge.target), key=lambda unit: unit.position)
    for name, unit in sorted(seen.items()):
        final = bindings.creator(name, class_unit(unit) if unit.interface else unit)
        for before in bindings.of(name):
            both = before.statement.root_import and final.statement.root_import
            if before.position < final.position and _rebinds(final, before) and not both:
                yield f"{name} is from {final.cell.label} ({before.cell.label} set it before)"
                break


def _rebinds(unit: Unit, before: Unit) -> bool:
    """True if two units are different statements in different cells. Two runs of a cell are one cell."""
    return unit.cell.key != before.cell.key and unit.statement.text != before.statement.text
