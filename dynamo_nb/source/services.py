"""The services that cells define, found without running them."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from dynamo_nb.source.cells import Cell
from dynamo_nb.source.interface import aliases, is_service, service_name
from dynamo_nb.source.statements import Units


def services_in(cells: Sequence[Cell]) -> dict[str, str]:
    """The classes that `@service` decorates, in order of their first definition: class name to service name."""
    units = Units.of(cells).units
    known = aliases(unit.statement for unit in units if unit.statement.imports)
    nodes = (unit.statement.node for unit in units if is_service(unit.statement.node, known))
    return {node.name: service_name(node, known) for node in nodes if isinstance(node, ast.ClassDef)}
