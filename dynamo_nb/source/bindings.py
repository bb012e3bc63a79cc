"""Which unit gives a name, at which point of the notebook's history."""

from __future__ import annotations

import ast
from bisect import bisect_left
from collections.abc import Sequence

from dynamo_nb.source.statements import Unit

# Later than every unit: what a worker that has imported everything sees.
NOW = 1 << 60


class Bindings:
    """The names that units bind, in order of execution. An import that only repeats the one before it is left out."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self._strong: dict[str, list[Unit]] = {}
        self._weak: dict[str, list[Unit]] = {}
        self._rebound: list[int] = []
        self.stars = [unit for unit in reversed(units) if unit.statement.star]
        for unit in units:
            for name in sorted(unit.names.binds):
                known = self._strong.setdefault(name, [])
                if known and unit.statement.imports and known[-1].statement.text == unit.statement.text:
                    continue
                if known:
                    self._rebound.append(unit.position)
                known.append(unit)
            for name in sorted(unit.names.weak):
                self._weak.setdefault(name, []).append(unit)

    def __contains__(self, name: str) -> bool:
        return name in self._strong or name in self._weak

    def names(self) -> list[str]:
        return sorted(self._strong.keys() | self._weak.keys())

    def of(self, name: str) -> list[Unit]:
        return self._strong.get(name) or self._weak.get(name, [])

    def epoch(self, moment: int) -> int:
        """Moments of one epoch see the same bindings."""
        return bisect_left(self._rebound, moment)

    def find(self, name: str, moment: int, asking: Unit | None = None) -> list[Unit]:
        """The units that give `name` at a moment: its last binding before it.

        With none before it, a cell was run again after those that use it, and the first one after counts. Dotted
        imports of one package come together.
        """
        known = [unit for unit in self.of(name) if unit is not asking]
        before = [unit for unit in known if unit.position < moment]
        if not known:
            return []
        found = before[-1] if before else known[0]
        if found.statement.root_import:
            return [unit for unit in before or known if unit.statement.root_import]
        return [found]

    def class_of(self, name: str) -> Unit | None:
        """The class statement that gives `name` in the end, whatever is set on that class afterwards."""
        found = self.made(name, self.of(name)[-1]) if name in self else None
        return found if found and isinstance(found.statement.node, ast.ClassDef) else None

    def made(self, name: str, unit: Unit) -> Unit:
        """The unit that made the object which `unit` gives as `name`, and perhaps only changed."""
        known = self.of(name)
        while name in unit.names.changes and unit in known and known.index(unit) > 0:
            unit = known[known.index(unit) - 1]
        return unit
