"""The layout of units in modules: one module for each set of services that need the same units.

A service that needs a unit needs everything that the unit uses. So a module imports only from modules of strictly
larger sets of services, and there is no import cycle.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from dynamo_nb.errors import Problem
from dynamo_nb.source.bindings import Bindings
from dynamo_nb.source.cells import Cell
from dynamo_nb.source.code_tree import CodeTree, Module, digest
from dynamo_nb.source.interface import Aliases, is_service
from dynamo_nb.source.source_map import SourceMap, Span
from dynamo_nb.source.statements import Unit, parse

PACKAGE = "cells"
_LONGEST_NAME = 60
"""Characters of a module's name."""
_LONGEST_LINE = 88
"""Characters of an import line: the default of ruff's formatter."""


class Edge(NamedTuple):
    """A unit uses `name`, which `target` binds.

    later: in the body of a function. runs: the unit may call the value at once. typed: in an annotation, which may be
    a string and is then read later too. follows: a later change of an object that the unit keeps.
    """

    name: str
    later: bool
    runs: bool
    typed: bool
    target: Unit
    follows: bool = False


Closure = dict[Unit, dict[Edge, None]]
"""The units that a service needs, each with its edges."""
_Group = frozenset[str]


@dataclass
class Layout:
    """Distributes the units of some services over modules.

    roots: the class of each service. closures: what each service needs. problems: names that cannot be shared.
    """

    roots: Mapping[str, Unit]
    closures: Mapping[str, Closure]
    bindings: Bindings
    future: Sequence[tuple[int, str]]
    aliases: Aliases
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        users: dict[Unit, set[str]] = {}
        self.edges: dict[Unit, dict[Edge, None]] = {}
        for service, closure in self.closures.items():
            for unit, edges in closure.items():
                users.setdefault(unit, set()).add(service)
                self.edges.setdefault(unit, {}).update(edges)
        self.group = {unit: frozenset(names) for unit, names in users.items() if not unit.statement.imports}
        self.members: dict[_Group, list[Unit]] = {}
        for unit in sorted(self.group, key=_order):
            self.members.setdefault(self.group[unit], []).append(unit)
        self.names = {group: self._module_name(group) for group in self.members}

    def tree(self, notes: tuple[str, ...] = ()) -> CodeTree:
        """The modules as a CodeTree with these notes."""
        package = Module(PACKAGE, f"{PACKAGE}/__init__.py", '"""The cells of a notebook, as modules."""\n')
        modules, imported = [package], {}
        for group, name in self.names.items():
            providers = self._providers(group)
            imported[group] = set(providers.values())
            text, source_map = self._text(group, providers)
            modules.append(Module(name, name.replace(".", "/") + ".py", text, source_map))
        closures = {}
        for service, root in self.roots.items():
            needed, pending = set(), [self.group[root]]
            while pending:
                if (group := pending.pop()) not in needed:
                    needed.add(group)
                    pending += imported[group]
            closures[service] = (PACKAGE, *sorted(self.names[group] for group in needed))
        return CodeTree(
            tuple(sorted(modules, key=lambda module: module.path)),
            {service: f"{self.names[self.group[root]]}:{service}" for service, root in self.roots.items()},
            closures,
            {service: self._digest(closure) for service, closure in self.closures.items()},
            notes,
        )

    def _module_name(self, group: _Group) -> str:
        """The name of a service whose whole class the group needs; else the names of all its services."""
        for service in sorted(group):
            if self.group[self.roots[service]] == group:
                return f"{PACKAGE}.{service}"
        name = "shared_" + "_".join(sorted(group))
        if len(name) > _LONGEST_NAME:
            name = f"{name[:_LONGEST_NAME]}_{digest(sorted(group))[7:15]}"
        return f"{PACKAGE}.{name}"

    def _digest(self, closure: Closure) -> str:
        """The digest of the statements that bind each name. Labels, sharing and the order of cells do not count."""
        parts: dict[str, list[str]] = {}
        for unit in sorted(closure, key=_order):
            for name in unit.names.binds | unit.names.weak or {"*"}:
                parts.setdefault(name, []).extend([*self._features([unit]), unit.statement.text])
        return digest(text for name in sorted(parts) for text in (name, str(len(parts[name])), *parts[name]))

    def _features(self, units: Iterable[Unit]) -> list[str]:
        return sorted({feature for start, feature in self.future for unit in units if unit.position >= start})

    # --- one module

    def _providers(self, group: _Group) -> dict[str, _Group]:
        """The groups from which a module imports the names that it does not bind itself."""
        needed: dict[str, dict[Unit, Unit]] = {}
        for unit in self.members[group]:
            for edge in self.edges[unit]:
                needed.setdefault(edge.name, {})[edge.target] = unit
        providers: dict[str, _Group] = {}
        for name, targets in sorted(needed.items()):
            homes = {self.group.get(target, group) for target in targets}
            if homes == {group}:
                continue
            last = max(targets, key=_order)
            home = self.group.get(last, group)
            final = [unit for unit in self.members[home] if name in unit.names.binds | unit.names.weak][-1:]
            creators = {self.bindings.creator(name, unit) for unit in [*targets, *final]}
            if len(creators) > 1 or not home >= group:
                unit = next(iter(targets.values()))
                self._problem(f"{name!r} has several values over time, which {_and(home)} share", unit)
            elif any(name in unit.names.weak for unit in self.edges):
                self._problem(f"{name!r} is rebound by `global`, and {_and(home)} share it", targets[last])
            elif home != group:
                providers[name] = home
        return providers

    def _problem(self, message: str, unit: Unit) -> None:
        advice = "; give each value its own name, or store it in an object"
        self.problems.append(Problem(message + advice, ", ".join(sorted(unit.names.binds)), unit.location()))

    def _ordered(self, group: _Group) -> list[Unit]:
        """The units of a module and the imports that they need, in order of execution.

        The units that a unit needs to run come before it, even if their cell was run again later.
        """
        inside = set(self.members[group])
        inside |= {e.target for unit in self.members[group] for e in self.edges[unit] if e.target.statement.imports}
        placed: dict[Unit, None] = {}
        begun: set[Unit] = set()

        def place(unit: Unit) -> None:
            if unit not in begun:
                begun.add(unit)
                for needed in sorted((self._running(unit) | self._types(unit)) & inside, key=_order):
                    place(needed)
                placed[unit] = None

        for unit in sorted(inside, key=_order):
            place(unit)
        return list(placed)

    def _running(self, unit: Unit) -> set[Unit]:
        """The units that must have run before this one: those it uses at once, and those that their functions use."""
        found = {edge.target for edge in self.edges[unit] if not edge.later and not edge.typed}
        pending = [edge.target for edge in self.edges[unit] if edge.runs]
        called: set[Unit] = set()
        while pending:
            if (callee := pending.pop()) in called:
                continue
            called.add(callee)
            values: dict[str, list[Unit]] = {}
            for edge in self.edges[callee]:
                if edge.later and not edge.follows:
                    values.setdefault(edge.name, []).append(edge.target)
            for known in values.values():
                # Of several values of a name, those after this unit did not exist at that time.
                existed = [one for one in known if one.position < unit.position] or [min(known, key=_order)]
                found.update(existed)
                pending += existed
        return found

    def _types(self, unit: Unit) -> set[Unit]:
        """The units that its annotations use, except for those that need this unit to run: strings name these."""
        found = {edge.target for edge in self.edges[unit] if edge.typed and not edge.later}
        needed: dict[Unit, set[Unit]] = {target: {target} for target in found}
        for target, seen in needed.items():
            pending = [target]
            while pending:
                more = self._running(pending.pop()) - seen
                seen.update(more)
                pending += more
        return {target for target in found if unit not in needed[target]}

    def _text(self, group: _Group, providers: Mapping[str, _Group]) -> tuple[str, SourceMap]:
        """The text of a module, and its source map."""
        units = self._ordered(group)
        users = f"the service {_and(group)}" if len(group) == 1 else f"the services {_and(group)}"
        blocks = [(0, f'"""Code of {users}, from the cells of a notebook."""')]
        if features := self._features(units):
            blocks.append((1, f"from __future__ import {', '.join(features)}"))
        by_home: dict[str, list[str]] = {}
        for name, home in sorted(providers.items()):
            by_home.setdefault(self.names[home], []).append(name)
        blocks += [(not index, _import(*one)) for index, one in enumerate(sorted(by_home.items()))]
        text = "".join("\n" * gap + block + "\n" for gap, block in blocks)
        spans: list[Span] = []
        before: Unit | None = None
        for run in _runs(units):
            statement = _statement(run)
            text += "\n" * _gap(before, run[0]) + _header(before, run[0])
            spans += self._spans(run[0], statement, text.count("\n") + 1)
            text += statement + "\n"
            before = run[-1]
        return text, tuple(spans)

    def _spans(self, unit: Unit, text: str, line: int) -> list[Span]:
        """The spans of a statement; none if it is generated. line: its first one in the module."""
        if unit.interface or unit.position < 0:
            return []
        cell, typed = _title(unit.cell, self.aliases), unit.statement
        if text == (typed.imports.text if typed.imports else typed.text):
            return [Span(line, text.count("\n") + 1, cell, typed.end_line - text.count("\n"))]
        # The import of some names out of several is generated, from one statement.
        return [Span(line + n, 1, cell, typed.line) for n in range(text.count("\n") + 1)]


@lru_cache(maxsize=512)
def _title(cell: Cell, known: Aliases) -> str:
    """A cell's label with the name of its first service, else of its first class or function."""
    nodes = [one.node for one in parse(cell.text).statements]
    named = [one for one in nodes if isinstance(one, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)]
    first = next((one for one in named if is_service(one, known)), named[0] if named else None)
    return f'{cell.label} "{first.name}"' if first else cell.label


def _order(unit: Unit) -> tuple[int, bool, str]:
    return unit.position, unit.interface, unit.statement.text


def _and(names: Iterable[str]) -> str:
    *most, last = sorted(names)
    return f"{', '.join(most)} and {last}" if most else last


def _import(module: str, names: Sequence[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= _LONGEST_LINE:
        return line
    return f"from {module} import (\n" + "".join(f"    {name},\n" for name in names) + ")"


def _runs(units: Sequence[Unit]) -> list[list[Unit]]:
    """Units by statement: consecutive names of one import form one statement."""
    runs: list[list[Unit]] = []
    for unit in units:
        whole, last = unit.statement.imports, runs[-1][-1] if runs else None
        if whole and last and last.cell is unit.cell and last.statement.imports is whole:
            runs[-1].append(unit)
        else:
            runs.append([unit])
    return runs


def _statement(run: Sequence[Unit]) -> str:
    """The text as typed; of an import, the names that are needed."""
    whole, node = run[0].statement.imports, run[0].statement.node
    if whole is None:
        return run[0].statement.text
    if whole.count == len(run):
        return whole.text
    if not isinstance(node, ast.ImportFrom):
        return "\n".join(unit.statement.text for unit in run)
    names = [unit.statement.text.partition(" import ")[2] for unit in run]
    return _import("." * node.level + (node.module or ""), names)


def _header(before: Unit | None, unit: Unit) -> str:
    if unit.interface:
        return f"# {unit.cell.label}: the interface of {_and(unit.names.binds)}\n"
    return f"# {unit.cell.label}\n" if before is None or before.cell is not unit.cell or before.interface else ""


def _gap(before: Unit | None, unit: Unit) -> int:
    """The number of blank lines before a statement, as a formatter leaves them: two around definitions, else one."""
    definitions = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    if any(isinstance(one.statement.node, definitions) for one in (before, unit) if one):
        return 2
    if before is None or before.cell is not unit.cell or (before.statement.imports and not unit.statement.imports):
        return 1
    top = unit.statement.end_line - unit.statement.text.count("\n")
    return 1 if top - before.statement.end_line > 1 else 0
