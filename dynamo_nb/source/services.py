"""The services that cells define, found without running the cells."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from dynamo_nb.source.cells import Cell
from dynamo_nb.source.interface import aliases, is_service, service_name
from dynamo_nb.source.statements import History


def services_in(cells: Sequence[Cell]) -> dict[str, str]:
    """The service names by class name, for the classes with `@service`, in order of their first definition."""
    units = History.of(cells).units
    known = aliases(unit.statement for unit in units if unit.statement.imports)
    nodes = (unit.statement.node for unit in units if is_service(unit.statement.node, known))
    return {node.name: service_name(node, known) for node in nodes if isinstance(node, ast.ClassDef)}
