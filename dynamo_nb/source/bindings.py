"""Which unit binds a name, at each moment in the history of a notebook."""

from __future__ import annotations

import ast
from bisect import bisect_left
from collections.abc import Sequence
from itertools import takewhile

from dynamo_nb.source.statements import Unit

NOW = 1 << 60
"""The moment after every unit: what a worker sees that has imported everything."""


class Bindings:
    """The units that bind each name, in order of execution. Repetitions of the same import are left out.

    stars: units of `from module import *`, last one first. A moment is a position in the history.
    """

    def __init__(self, units: Sequence[Unit]) -> None:
        self._strong: dict[str, list[Unit]] = {}
        self._weak: dict[str, list[Unit]] = {}
        self._rebound: list[int] = []
        self.stars = [unit for unit in reversed(units) if unit.statement.star]
        for unit in units:
            for name in sorted(unit.names.binds):
                known = self._strong.setdefault(name, [])
                if known and unit.statement.imports:
                    first = self.creator(name, known[-1])
                    if first.statement.imports and first.statement.text == unit.statement.text:
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
        """The units that bind `name`; if none does, those whose functions bind it through `global`."""
        return self._strong.get(name) or self._weak.get(name, [])

    def epoch(self, moment: int) -> int:
        """The epoch of a moment. All moments of an epoch have the same bindings."""
        return bisect_left(self._rebound, moment)

    def find(self, name: str, moment: int, user: Unit | None = None) -> list[Unit]:
        """The unit with the last binding of `name` before a moment; several for dotted imports of one package.

        If there is no binding before it, the binding cell was run again after the cells that use the name: then the
        first binding after the moment counts. user: a unit that is left out, since it uses the name itself.
        """
        known = [unit for unit in self.of(name) if unit is not user]
        before = [unit for unit in known if unit.position < moment]
        if not known:
            return []
        found = before[-1] if before else known[0]
        if found.statement.root_import:
            return [unit for unit in before or known if self.creator(name, unit).statement.root_import]
        return [found]

    def class_of(self, name: str) -> Unit | None:
        """The class statement that defines the final value of `name`; assignments to its attributes do not matter."""
        found = self.creator(name, self.of(name)[-1]) if name in self else None
        return found if found and isinstance(found.statement.node, ast.ClassDef) else None

    def changes_after(self, name: str, unit: Unit) -> list[Unit]:
        """The units after `unit` that change the object to which it binds `name`."""
        known = self._strong.get(name, [])
        if unit not in known:
            return []
        return list(takewhile(lambda one: name in one.names.changes, known[known.index(unit) + 1 :]))

    def creator(self, name: str, unit: Unit) -> Unit:
        """The unit that created the object to which `unit` binds `name`, if `unit` only changed that object."""
        known = self.of(name)
        while name in unit.names.changes and unit in known and known.index(unit) > 0:
            unit = known[known.index(unit) - 1]
        return unit
