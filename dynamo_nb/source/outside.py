"""Names that no cell binds: from a star import or the notebook's memory, or missing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from dynamo_nb.errors import nearest_name
from dynamo_nb.source import live_values
from dynamo_nb.source.bindings import Bindings
from dynamo_nb.source.cells import Cell
from dynamo_nb.source.statements import History, Unit, parse

_NOTEBOOK_ONLY = re.compile(r"get_ipython|display|In|Out|_oh|_ih|_dh|exit|quit|_+|_+i+|_i?\d+")


@dataclass
class OutsideNames:
    """The names that cells use and do not bind. live: the namespace in which the cells ran, if they did."""

    history: History
    bindings: Bindings
    live: Mapping[str, object] | None
    _units: dict[str, Unit | None] = field(default_factory=dict)

    def unit(self, name: str) -> Unit | None:
        """The star import that provides a name, or an assignment of its live value; None if it is missing."""
        if name not in self._units:
            self._units[name] = self._star_import(name) or self._live_value(name)
        return self._units[name]

    def _star_import(self, name: str) -> Unit | None:
        unknown = None
        for unit in self.bindings.stars:
            names = live_values.star_names(unit.statement.star)
            if names and name in names:
                return unit
            if names is None:
                unknown = unknown or unit
        return None if _NOTEBOOK_ONLY.fullmatch(name) or self._in_memory(name) else unknown

    def _live_value(self, name: str) -> Unit | None:
        if not self._in_memory(name) or (text := live_values.literal((self.live or {})[name])) is None:
            return None
        cell = Cell(f"{name} = {text}", "the notebook's memory")
        return Unit(parse(cell.text).statements[0], cell, -1)

    def _in_memory(self, name: str) -> bool:
        return self.live is not None and name in self.live and not _NOTEBOOK_ONLY.fullmatch(name)

    def why_missing(self, name: str) -> str:
        """The reason why a worker cannot have a name, for an error message."""
        if _NOTEBOOK_ONLY.fullmatch(name):
            hint = " (IPython's % and ! lines need it)" if name == "get_ipython" else ""
            return f"{name!r} exists only in a notebook{hint}"
        for unit, where in reversed(self.history.lost):
            if name in unit.names.binds:
                return f"{name!r} is defined only in {where}"
        for cell, fault in reversed(self.history.broken):
            if re.search(rf"\b{re.escape(name)}\b", cell.text):
                return f"{name!r} is defined nowhere, unless in {cell.label}, which {fault}"
        if self.live and name in self.live:
            advice = live_values.advice(name, self.live[name])
            return f"{name!r} is in the notebook's memory, but no cell defines it: {advice}"
        similar = nearest_name(name, self.bindings.names())
        return f"{name!r} is defined nowhere" + (f"; did you mean {similar!r}?" if similar else "")
