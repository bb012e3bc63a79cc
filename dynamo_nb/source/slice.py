"""Cells to modules: for each service the smallest set of units that it needs.

A unit that runs when it is defined sees the names as they were then; the body of a function sees them as they are in
the end. So `x = 1`, `y = x + 1`, `x = 2` gives a worker `x == 2` and `y == 2`, as in the notebook.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dynamo_nb.errors import Problem, SourceError, suggestion
from dynamo_nb.source import live_values
from dynamo_nb.source.bindings import NOW, Bindings
from dynamo_nb.source.cells import Cell
from dynamo_nb.source.code_tree import CodeTree
from dynamo_nb.source.files import imported, with_local_files
from dynamo_nb.source.interface import aliases, interface, is_service, needs_interface_only, service_name
from dynamo_nb.source.layout import Closure, Edge, Layout
from dynamo_nb.source.scope import ANNOTATION, BASE, NAMED, SOFT, Use
from dynamo_nb.source.statements import Unit, Units, parse

_NOTEBOOK_ONLY = re.compile(r"get_ipython|display|In|Out|_oh|_ih|_dh|exit|quit|_+|_+i+|_i?\d+")
_EVERYWHERE = frozenset(
    {*dir(builtins), "__file__", "__path__", "__builtins__", "__annotations__", "__class__"}
    - {"get_ipython", "display", "exit", "quit", "_"}
)
_SHOWN = 60  # characters of a statement in a note
_MAKE_IT_LATER = "make it inside __init__ or a start hook (@async_on_start)"


def slice_services(
    cells: Sequence[Cell],
    services: Sequence[str],
    *,
    live: Mapping[str, object] | None = None,
    root: Path | None = None,
) -> CodeTree:
    """The modules of `services`, classes that `cells` define.

    cells: in order of execution (`CellBook.cells`, `read_notebook`). live: the namespace in which they ran, if they
    did; it tells state from values, and gives plain values that no cell defines. root: the notebook's folder; files
    under it that the cells import come along.

    Raises SourceError with every name that cannot be shipped.
    """
    return _Slicer(cells, live, root).slice(services)


@dataclass
class _Slicer:
    cells: Sequence[Cell]
    live: Mapping[str, object] | None
    root: Path | None
    problems: dict[Problem, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.found = Units.of(self.cells)
        self.bindings = Bindings(self.found.units)
        self.aliases = aliases(unit.statement for unit in self.found.units if unit.statement.imports)
        self._interfaces: dict[Unit, Unit] = {}
        self._outside: dict[str, Unit | None] = {}

    def slice(self, services: Sequence[str]) -> CodeTree:
        roots = {name: root for name in services if (root := self._root(name))}
        closures = self._closures(roots)
        for closure in closures.values():
            self._check(closure)
        layout = Layout(roots, closures, self.bindings, self.found.future, self.aliases)
        tree = layout.tree((*self._changes(closures), *self._rebindings(roots, closures)))
        for problem in layout.problems:
            self.problems[problem] = None
        if self.problems:
            what = "code that a worker needs cannot be taken from the notebook"
            problems = sorted(self.problems, key=lambda one: (one.path, one.message))
            remedy = "workers run code of their own: define each name in a cell that runs to its end"
            raise SourceError(what, problems, remedy=remedy)
        if self.root is None:
            return tree
        imports = {
            service: {name for unit in closure for name in imported(unit.statement.node)}
            for service, closure in closures.items()
        }
        return with_local_files(tree, imports, self.root)

    def _root(self, name: str) -> Unit | None:
        if name in self.bindings and not (root := self.bindings.of(name)[-1]).statement.imports:
            return root
        reason = "it is imported" if name in self.bindings else self._missing(name)
        services = [known for known in self.bindings.names() if self._service(known)]
        self.problems[Problem(f"no cell defines the service {name!r}: {reason}; services: {', '.join(services)}")] = (
            None
        )
        return None

    def _service(self, name: str) -> Unit | None:
        unit = self.bindings.class_of(name)
        return unit if unit and is_service(unit.statement.node, self.aliases) else None

    def _named(self, service: str) -> Unit | None:
        """The class of a service by the service's own name."""
        for unit in filter(None, map(self._service, self.bindings.names())):
            node = unit.statement.node
            if isinstance(node, ast.ClassDef) and service_name(node, self.aliases) == service:
                return unit
        return None

    # --- closures

    def _closures(self, roots: Mapping[str, Unit]) -> dict[str, Closure]:
        """The closure of each service, where each process sees one form of a class: whole, or its interface.

        A unit that several services share stands in one module and so sees one form in all of them: one that needs
        the class whole decides for the others. Forms only ever become whole, so this ends.
        """
        whole: dict[str, set[Unit]] = {service: set() for service in roots}
        while True:
            closures = {service: self._trace(root, whole[service]) for service, root in roots.items()}
            changed = False
            shared: dict[Unit, set[Unit]] = {}
            for service, closure in closures.items():
                classes = {name for unit in closure if _is_class(unit) for name in unit.names.binds}
                for unit in closure:
                    if unit.interface and unit.names.binds & classes:
                        whole[service].add(self._behind(unit))
                        changed = True
                    shared.setdefault(unit, set()).update(edge.target for edge in closure[unit])
            for service, closure in closures.items():
                for unit in closure:
                    seen = {edge.target for edge in closure[unit]}
                    for form in [target for target in seen if target.interface]:
                        if self._behind(form) in shared[unit]:
                            whole[service].add(self._behind(form))
                            changed = True
            if not changed:
                return closures

    def _trace(self, root: Unit, whole: set[Unit]) -> Closure:
        closure: Closure = {}
        pending, visited = [(root, NOW)], set()
        while pending:
            unit, moment = pending.pop()
            if (state := (unit, self.bindings.epoch(moment))) in visited:
                continue
            visited.add(state)
            edges = closure.setdefault(unit, {})
            for use in unit.names.uses:
                runs = not use.later and use.how not in (ANNOTATION, BASE)
                for target in self._targets(unit, use, moment, whole):
                    name = use.name if use.how != NAMED else next(iter(target.names.binds))
                    edges[Edge(name, use.later, runs, use.how == ANNOTATION, target)] = None
                    pending.append((target, moment))
                    if runs:
                        pending.append((target, unit.position))
        return closure

    def _targets(self, unit: Unit, use: Use, moment: int, whole: set[Unit]) -> list[Unit]:
        if use.how == NAMED:
            by_name = self._named(use.name)
            return [self._interface(by_name)] if by_name and by_name not in whole else []
        if needs_interface_only(use, self.aliases, of_interface=unit.interface):
            named = self.bindings.class_of(use.name) if use.how == BASE else self._service(use.name)
            if named and named not in whole:
                return [self._interface(named)]
        if use.later:
            found = self.bindings.find(use.name, moment)
        else:
            found = self.bindings.find(use.name, unit.position, asking=unit)
        itself = use.how == ANNOTATION and use.name in unit.names.binds
        if found or itself or use.how == SOFT or use.name in _EVERYWHERE:
            return found
        outside = self._from_outside(use.name)
        if outside is None:
            self._problem(self._missing(use.name), unit, use.line)
        return [outside] if outside else []

    def _interface(self, named: Unit) -> Unit:
        if named not in self._interfaces:
            made = interface(named.statement, self.aliases)
            self._interfaces[named] = Unit(made, named.cell, named.position, interface=True)
        return self._interfaces[named]

    def _behind(self, form: Unit) -> Unit:
        return next(unit for unit, made in self._interfaces.items() if made is form)

    # --- names that no cell binds

    def _from_outside(self, name: str) -> Unit | None:
        """The star import that gives the name, or a unit made of its plain live value."""
        if name not in self._outside:
            self._outside[name] = self._star(name) or self._plain(name)
        return self._outside[name]

    def _star(self, name: str) -> Unit | None:
        maybe = None
        for unit in self.bindings.stars:
            names = live_values.star_names(unit.statement.star)
            if names and name in names:
                return unit
            if names is None:
                maybe = maybe or unit
        return None if _NOTEBOOK_ONLY.fullmatch(name) or self._in_memory(name) else maybe

    def _plain(self, name: str) -> Unit | None:
        if not self._in_memory(name) or (text := live_values.literal((self.live or {})[name])) is None:
            return None
        cell = Cell(f"{name} = {text}", "the notebook's memory")
        return Unit(parse(cell.text).statements[0], cell, -1)

    def _in_memory(self, name: str) -> bool:
        return self.live is not None and name in self.live and not _NOTEBOOK_ONLY.fullmatch(name)

    def _missing(self, name: str) -> str:
        if _NOTEBOOK_ONLY.fullmatch(name):
            hint = " (IPython's % and ! lines need it)" if name == "get_ipython" else ""
            return f"{name!r} exists only in a notebook{hint}"
        for unit, where in reversed(self.found.lost):
            if name in unit.names.binds:
                return f"{name!r} is defined only in {where}"
        for cell, fault in reversed(self.found.broken):
            if re.search(rf"\b{re.escape(name)}\b", cell.text):
                return f"{name!r} is defined nowhere, unless in {cell.label}, which {fault}"
        if self.live and name in self.live:
            return f"{name!r} is in the notebook's memory, but no cell defines it: " + live_values.advice(
                name, self.live[name]
            )
        hint = suggestion(name, self.bindings.names())
        return f"{name!r} is defined nowhere" + (f"; {hint}" if hint.startswith("did") else "")

    # --- units that cannot be taken

    def _check(self, closure: Closure) -> None:
        for unit, edges in closure.items():
            if unit.names.await_line:
                self._problem(f"`await` at the top of a cell: {_MAKE_IT_LATER}", unit, unit.names.await_line)
            if self.live is None and _opens(unit.statement.node):
                self._problem(f"{_name(unit)!r} is an open file: {_MAKE_IT_LATER}", unit)
            for edge in edges:
                if kind := self._state(edge.name, edge.target):
                    self._problem(f"{edge.name!r} is {kind}: {_MAKE_IT_LATER}", edge.target)

    def _state(self, name: str, unit: Unit) -> str:
        if not self.live or name not in self.live or unit.statement.imports:
            return ""
        if isinstance(unit.statement.node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return ""
        known = self.bindings.of(name)
        return live_values.state(self.live[name]) if known and known[-1] is unit else ""

    def _problem(self, message: str, unit: Unit, line: int = 0) -> None:
        self.problems[Problem(message, _name(unit), unit.place(line))] = None

    # --- notes

    def _changes(self, closures: Mapping[str, Closure]) -> Iterator[str]:
        """What cells did to a container after it was defined, which no worker does."""
        taken = {unit for closure in closures.values() for unit in closure}
        used = {edge.name: edge.target for closure in closures.values() for one in closure.values() for edge in one}
        for unit in self.found.units:
            for name in sorted(unit.names.appends & used.keys()):
                made = used[name].statement
                if unit not in taken and not made.imports and not hasattr(made.node, "body"):
                    change = ast.unparse(unit.statement.node)
                    remedy = f"workers get it as it was defined; write the change where {name} is defined"
                    yield f"{unit.place()}: `{change:.{_SHOWN}}` changes {name} in the notebook only: {remedy}"

    def _rebindings(self, roots: Mapping[str, Unit], closures: Mapping[str, Closure]) -> Iterator[str]:
        """Which cell gave a name that workers see, where another cell had given it before."""
        seen = dict(roots)
        for edge in (edge for closure in closures.values() for edges in closure.values() for edge in edges):
            seen[edge.name] = max(edge.target, seen.get(edge.name, edge.target), key=lambda unit: unit.position)
        for name, unit in sorted(seen.items()):
            made = self.bindings.made(name, self._behind(unit) if unit.interface else unit)
            for before in self.bindings.of(name):
                both = before.statement.root_import and made.statement.root_import
                if before.position < made.position and _rebinds(made, before) and not both:
                    yield f"{name} is from {made.cell.label} ({before.cell.label} set it before)"
                    break


def _rebinds(unit: Unit, before: Unit) -> bool:
    """Whether the two stand in different cells, of which the same one run again is none, and say different things."""
    return unit.cell.key != before.cell.key and unit.statement.text != before.statement.text


def _is_class(unit: Unit) -> bool:
    return isinstance(unit.statement.node, ast.ClassDef) and not unit.interface


def _name(unit: Unit) -> str:
    return ", ".join(sorted(unit.names.binds)) or unit.statement.text.partition("\n")[0]


def _opens(node: ast.stmt) -> bool:
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "open"
