"""Notes about differences between a notebook and the modules that workers import."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping

from dynamo_nb.source.bindings import Bindings
from dynamo_nb.source.layout import Closure
from dynamo_nb.source.statements import History, Unit

_SHOWN = 60
"""Characters of a statement in a note."""


def changes_left_out(history: History, closures: Mapping[str, Closure]) -> Iterator[str]:
    """Changes of containers after their definition, which no worker has: `xs.append(1)` in a later cell."""
    used_units = {unit for closure in closures.values() for unit in closure}
    targets = {edge.name: edge.target for closure in closures.values() for edges in closure.values() for edge in edges}
    for unit in history.units:
        for name in sorted(unit.names.appends & targets.keys()):
            definition = targets[name].statement
            if unit not in used_units and not definition.imports and not hasattr(definition.node, "body"):
                change = ast.unparse(unit.statement.node)
                remedy = f"workers get it as it was defined; write the change where {name} is defined"
                yield f"{unit.location()}: `{change:.{_SHOWN}}` changes {name} in the notebook only: {remedy}"


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
    """Whether two units are different statements in different cells. Two runs of a cell are one cell."""
    return unit.cell.key != before.cell.key and unit.statement.text != before.statement.text
