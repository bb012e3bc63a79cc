"""The services that cells define, found without running them."""

from __future__ import annotations

from collections.abc import Sequence

from dynamo_nb.source.cells import Cell
from dynamo_nb.source.interface import aliases, is_service
from dynamo_nb.source.units import Units


def services_in(cells: Sequence[Cell]) -> list[str]:
    """The names of the classes that `@service` decorates, in order of their first definition."""
    units = Units.of(cells).units
    known = aliases(unit.statement for unit in units if unit.statement.imports)
    services = (unit.statement.node for unit in units if is_service(unit.statement.node, known))
    return list(dict.fromkeys(getattr(node, "name", "") for node in services))
