"""Cells to modules: for each service, the units that it needs and no others.

A statement that runs at import sees the names as they were at that moment; the body of a function sees them as they
are in the end. So with `x = 1`, `y = x + 1`, `x = 2` a worker gets `x == 2` and `y == 2`, as in the notebook.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dynamo_nb.errors import Problem, SourceError
from dynamo_nb.source import live_values
from dynamo_nb.source.bindings import NOW, Bindings
from dynamo_nb.source.cells import Cell
from dynamo_nb.source.code_tree import CodeTree
from dynamo_nb.source.effect_verbs import PROCESS_WIDE
from dynamo_nb.source.effects import with_effects
from dynamo_nb.source.events import with_kernel_values
from dynamo_nb.source.files import imported, with_local_files
from dynamo_nb.source.interface import aliases, interface, is_service, needs_interface_only, service_name
from dynamo_nb.source.layout import Closure, Edge, Layout
from dynamo_nb.source.names import ANNOTATION, BASE, BY_NAME, SOFT, Use
from dynamo_nb.source.notes import (
    kernel_values,
    rebound_names,
    still_in_effect,
    unclear_effects,
    unknown_names,
)
from dynamo_nb.source.outside import OutsideNames
from dynamo_nb.source.running_parts import held
from dynamo_nb.source.statements import History, Unit

_EVERYWHERE = frozenset(
    {*dir(builtins), "__file__", "__path__", "__builtins__", "__annotations__", "__class__"}
    - {"get_ipython", "display", "exit", "quit", "_"}
)
_ASK_ONCE = "store it in an environment variable, which workers inherit (os.environ['KEY'] = input()), and read that"
_MAKE_IN_WORKER = "make it inside __init__ or a start hook (@async_on_start)"


def slice_services(
    cells: Sequence[Cell],
    services: Sequence[str],
    *,
    live: Mapping[str, object] | None = None,
    root: Path | None = None,
    search: Sequence[str] = (),
) -> CodeTree:
    """Makes modules of the cells, with the code that some services need.

    Args:
        cells: The cells in order of execution (`CellBook.cells`, `read_notebook`).
        services: The classes of the services.
        live: The namespace in which the cells ran, if they did. It shows which values are state, such as an open
            file, and provides plain values that no cell defines.
        root: The folder of the notebook. Files under it that the cells import are added.
        search: The search path of the notebook. Modules in its folders that are not installed are added too.

    Returns:
        The modules, with a digest for each service.

    Raises:
        SourceError: Some names cannot be used in modules; it lists all of them.
    """
    return _Slicer(cells, live, root, search).slice(services)


@dataclass
class _Slicer:
    cells: Sequence[Cell]
    live: Mapping[str, object] | None
    root: Path | None
    search: Sequence[str] = ()
    problems: dict[Problem, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.history = History.of(self.cells)
        self.aliases = aliases(unit.statement for unit in self.history.units if unit.statement.imports)
        self.effects = with_effects(self.history.units, self.aliases)
        self.events = with_kernel_values(self.effects.units, self.live, self.aliases)
        self.history.units = self.events.units
        self._in_effect = frozenset(self.history.units)
        self.bindings = Bindings(self.history.units)
        self.outside = OutsideNames(self.history, self.bindings, self.live)
        self._interfaces: dict[Unit, Unit] = {}

    def slice(self, services: Sequence[str]) -> CodeTree:
        roots = {name: root for name in services if (root := self._root(name))}
        closures = self._closures(roots)
        for closure in closures.values():
            self._check(closure)
        notes = (
            *unclear_effects(self.effects, closures),
            *unknown_names(self.history.units, closures),
            *kernel_values(self.events, closures, in_kernel=self.live is not None),
            *self._earlier_runs(roots, closures),
            *rebound_names(self.bindings, roots, closures, self._class_unit),
        )
        layout = Layout(roots, closures, self.bindings, self.history.future, self.aliases)
        tree = layout.tree(notes)
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
        return with_local_files(tree, imports, self.root, self.search)

    def _earlier_runs(self, roots: Mapping[str, Unit], closures: Mapping[str, Closure]) -> Iterator[str]:
        """Notes about earlier runs of cells whose effect the kernel still has, and no worker."""
        earlier = [run for cell in self.cells for run in cell.earlier]
        if not earlier:
            return
        runs = _Slicer(sorted([*earlier, *self.cells], key=lambda cell: cell.number), self.live, None)
        known = {name: root for name in roots if (root := runs._root(name))}
        units = {unit for closure in runs._closures(known).values() for unit in closure}
        used = {unit for closure in closures.values() for unit in closure}
        here, there = {_key(unit) for unit in units}, {_key(unit) for unit in used}
        # Earlier runs, and calls in the last runs of what an earlier run had defined; what earlier runs make of no use.
        found = [unit for unit in units if _key(unit) not in there] + [unit for unit in used if _key(unit) not in here]
        again = {unit.statement.text for unit in self.history.units}
        yield from still_in_effect((unit for unit in found if not unit.interface), again)

    def _root(self, name: str) -> Unit | None:
        if name in self.bindings and not (root := self.bindings.of(name)[-1]).statement.imports:
            return root
        reason = "it is imported" if name in self.bindings else self.outside.why_missing(name)
        services = [known for known in self.bindings.names() if self._service(known)]
        message = f"no cell defines the service {name!r}: {reason}; services: {', '.join(services)}"
        self.problems[Problem(message)] = None
        return None

    def _service(self, name: str) -> Unit | None:
        unit = self.bindings.class_of(name)
        return unit if unit and is_service(unit.statement.node, self.aliases) else None

    def _by_service_name(self, service: str) -> Unit | None:
        """The class of a service, by the service's own name."""
        for unit in filter(None, map(self._service, self.bindings.names())):
            node = unit.statement.node
            if isinstance(node, ast.ClassDef) and service_name(node, self.aliases) == service:
                return unit
        return None

    # --- closures

    def _closures(self, roots: Mapping[str, Unit]) -> dict[str, Closure]:
        """The closure of each service: the units that it needs.

        Each process sees one form of a class: whole, or its interface. A unit that several services share is in one
        module, so it sees the same form in all of them: whole if one of them needs that. A form only ever changes from
        interface to whole, so the loop ends.
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
                        whole[service].add(self._class_unit(unit))
                        changed = True
                    shared.setdefault(unit, set()).update(edge.target for edge in closure[unit])
            for service, closure in closures.items():
                for unit in closure:
                    targets = {edge.target for edge in closure[unit]}
                    for form in [target for target in targets if target.interface]:
                        if self._class_unit(form) in shared[unit]:
                            whole[service].add(self._class_unit(form))
                            changed = True
            if not changed:
                return closures

    def _trace(self, root: Unit, whole: set[Unit]) -> Closure:
        closure: Closure = {}
        pending, visited = [(root, NOW)], set()
        while pending or (pending := self._state_of_process(root, closure)):
            unit, moment = pending.pop()
            if (state := (unit, self.bindings.epoch(moment))) in visited:
                continue
            visited.add(state)
            edges = closure.setdefault(unit, {})
            kept = held(unit.statement.node)
            for use in unit.names.uses:
                runs = not use.later and use.how not in (ANNOTATION, BASE)
                for target in self._targets(unit, use, moment, whole):
                    name = use.name if use.how != BY_NAME else next(iter(target.names.binds))
                    edges[Edge(name, use.later, runs, use.how == ANNOTATION, target)] = None
                    pending.append((target, moment))
                    if runs:
                        pending.append((target, unit.position))
                    if not use.later and use.name in kept:
                        for change in self.bindings.changes_after(use.name, target):
                            if change is not unit:
                                edge = Edge(use.name, later=True, runs=False, typed=False, target=change, follows=True)
                                edges[edge] = None
                                pending.append((change, moment))
        return closure

    def _state_of_process(self, root: Unit, closure: Closure) -> list[tuple[Unit, int]]:
        """Units outside the closure that change the state of a module that it imports: `random.seed(7)`."""
        modules = {name for unit in closure for name in imported(unit.statement.node)}
        packages = PROCESS_WIDE | {name.partition(".")[0] for name in modules}
        found = []
        for unit, package in self.effects.state:
            if package in packages and unit not in closure and unit in self._in_effect:
                for name in unit.names.binds:
                    edge = Edge(name, later=True, runs=False, typed=False, target=unit, follows=True)
                    closure[root][edge] = None
                found.append((unit, NOW))
        return found

    def _targets(self, unit: Unit, use: Use, moment: int, whole: set[Unit]) -> list[Unit]:
        if use.how == BY_NAME:
            cls = self._by_service_name(use.name)
            return [self._interface(cls)] if cls and cls not in whole else []
        if needs_interface_only(use, self.aliases, of_interface=unit.interface):
            cls = self.bindings.class_of(use.name) if use.how == BASE else self._service(use.name)
            if cls and cls not in whole:
                return [self._interface(cls)]
        if use.later:
            found = self.bindings.find(use.name, moment)
        else:
            found = self.bindings.find(use.name, unit.position, user=unit)
        itself = use.how == ANNOTATION and use.name in unit.names.binds
        if found or itself or use.how == SOFT or use.name in _EVERYWHERE:
            return found
        outside = self.outside.unit(use.name)
        if outside is None:
            self._problem(self.outside.why_missing(use.name), unit, use.line)
        return [outside] if outside else []

    def _interface(self, cls: Unit) -> Unit:
        if cls not in self._interfaces:
            statement = interface(cls.statement, self.aliases)
            self._interfaces[cls] = Unit(statement, cls.cell, cls.position, interface=True)
        return self._interfaces[cls]

    def _class_unit(self, interface_unit: Unit) -> Unit:
        return next(cls for cls, unit in self._interfaces.items() if unit is interface_unit)

    # --- problems

    def _check(self, closure: Closure) -> None:
        for unit, edges in closure.items():
            if unit.names.await_line:
                self._problem(f"`await` at the top of a cell: {_MAKE_IN_WORKER}", unit, unit.names.await_line)
            if unit in self.events.asks:
                self._problem(
                    f"{_title(unit)!r} is the answer of a person, whom a worker cannot ask: {_ASK_ONCE}", unit
                )
            if self.live is None and _opens_file(unit.statement.node):
                self._problem(f"{_title(unit)!r} is an open file: {_MAKE_IN_WORKER}", unit)
            for edge in edges:
                if kind := self._state(edge.name, edge.target):
                    self._problem(f"{edge.name!r} is {kind}: {_MAKE_IN_WORKER}", edge.target)

    def _state(self, name: str, unit: Unit) -> str:
        if not self.live or name not in self.live or unit.statement.imports:
            return ""
        if isinstance(unit.statement.node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return ""
        known = self.bindings.of(name)
        return live_values.state(self.live[name]) if known and known[-1] is unit else ""

    def _problem(self, message: str, unit: Unit, line: int = 0) -> None:
        self.problems[Problem(message, _title(unit), unit.location(line))] = None


def _key(unit: Unit) -> tuple[Cell, int, str]:
    """The same for a unit of two slicers."""
    return unit.cell, unit.statement.line, unit.statement.text


def _is_class(unit: Unit) -> bool:
    return isinstance(unit.statement.node, ast.ClassDef) and not unit.interface


def _title(unit: Unit) -> str:
    return ", ".join(sorted(unit.names.binds)) or unit.statement.text.partition("\n")[0]


def _opens_file(node: ast.stmt) -> bool:
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "open"
