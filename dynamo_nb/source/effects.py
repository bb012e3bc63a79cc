"""Effects: the objects that a statement changes without binding a name.

The rule, for code that runs at the top level of a cell:

- A decorator changes the object that it comes from (`@app.get("/")`), and the arguments of its call.
- A call of a function of the notebook changes what the function's body changes: its parameters and global names.
- `setattr`, `delattr` and `next` change their first argument.
- A call that is a statement of its own changes the object of the method (`app.add_middleware(M)`), and the variables
  that it hands to an imported function (`instrument(app)`).
- Names of one object (`router = app.router`) change together. A class that is defined runs `__init_subclass__` of its
  bases. A call on an imported module may change the state of the process (`random.seed(7)`).
- Environment variables that a deployment sets in its workers (`CUDA_VISIBLE_DEVICES`) stay as it sets them.
- Calls that by their name only use an object do not count (`print`, `app.run()`), nor do calls of display libraries,
  of services (`Frontend.link(Backend)`), and calls that are awaited.
- A method whose name says neither is taken as a change, and listed as unclear.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from dynamo_nb.source.bindings import Bindings
from dynamo_nb.source.effect_verbs import (
    CHANGED_BY_BUILTIN,
    CONTAINER_METHODS,
    DISPLAY_PACKAGES,
    changes_argument,
    changes_receiver,
    only_uses,
)
from dynamo_nb.source.interface import Aliases, is_service
from dynamo_nb.source.names import PLAIN, Use
from dynamo_nb.source.running_parts import is_main_block, roots_of, running_parts, sets_own_variable
from dynamo_nb.source.statements import Unit

_Kind = Literal["import", "function", "class", "service", "object", "unknown"]
_How = Literal["statement", "decorator", "value", "await"]
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Effects:
    """The units with their effects: names that a unit changes are among the names that it binds.

    state: units that change the state of the process, each with the imported package. unclear: units whose call may be
    a change or only a use, each with the names. left_out: awaited calls, which no module can have, each with the names.
    """

    units: list[Unit] = field(default_factory=list)
    state: list[tuple[Unit, str]] = field(default_factory=list)
    unclear: list[tuple[Unit, frozenset[str]]] = field(default_factory=list)
    left_out: list[tuple[Unit, frozenset[str]]] = field(default_factory=list)


def with_effects(units: Sequence[Unit], known: Aliases) -> Effects:
    """Finds the effects of statements, in order of execution."""
    return _Finder(units, known).effects()


class _Finder:
    def __init__(self, units: Sequence[Unit], known: Aliases) -> None:
        self._bindings = Bindings(units)
        self._units = units
        self._known = known
        self._groups: dict[str, set[str]] = {}
        self._summaries: dict[ast.stmt, tuple[frozenset[str], frozenset[int]]] = {}

    def effects(self) -> Effects:
        result = Effects()
        for ran in self._units:
            unit = ran
            found = _Found(self, unit)
            if not unit.statement.imports:
                found.read()
            if sets_own_variable(unit.statement.node):
                unit = _without_modules(unit, {n for n in unit.names.changes if self.kind(n, unit) == "import"})
                found.changed = {name for name in found.changed if self.kind(name, unit) != "import"}
            together = self._with_aliases(found.changed | unit.names.changes)
            changed = frozenset(n for n in together if n in self._bindings and self.kind(n, unit) != "service")
            awaited = frozenset(name for name in found.awaited if name in self._bindings)
            if unit.names.await_line:
                if awaited or changed:
                    result.left_out.append((unit, awaited | changed))
                new = unit
            else:
                new = self._changing(unit, changed)
                if unclear := frozenset(found.unclear) & changed:
                    result.unclear.append((new, unclear))
                modules = {name for name in changed if self.kind(name, unit) == "import"}
                result.state += [(new, self._package(name, unit)) for name in sorted(modules)]
            result.units.append(new)
            self._note_aliases(unit)
        return result

    def _changing(self, unit: Unit, changed: frozenset[str]) -> Unit:
        names, line = unit.names, unit.statement.node.lineno
        new = changed - names.changes
        if not new:
            return unit
        uses = tuple(Use(name, line, later=False, how=PLAIN) for name in sorted(new - names.binds))
        names = names._replace(
            binds=names.binds | new, changes=names.changes | (new - names.binds), uses=(*names.uses, *uses)
        )
        return replace(unit, statement=replace(unit.statement, names=names))

    # --- names

    def creator(self, name: str, unit: Unit) -> Unit | None:
        found = self._bindings.find(name, unit.position, user=unit)
        return self._bindings.creator(name, found[-1]) if found else None

    def kind(self, name: str, unit: Unit) -> _Kind:
        made_by = self.creator(name, unit)
        if made_by is None:
            return "unknown"
        if made_by.statement.imports:
            return "import"
        match made_by.statement.node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                return "function"
            case ast.ClassDef() as node:
                return "service" if is_service(node, self._known) else "class"
        return "object"

    def _package(self, name: str, unit: Unit) -> str:
        made_by = self.creator(name, unit)
        node = made_by.statement.node if made_by else None
        if isinstance(node, ast.ImportFrom):
            return (node.module or "").partition(".")[0]
        return node.names[0].name.partition(".")[0] if isinstance(node, ast.Import) else name

    def displays(self, name: str, unit: Unit) -> bool:
        return self._package(name, unit) in DISPLAY_PACKAGES

    def _with_aliases(self, names: Iterable[str]) -> set[str]:
        return {one for name in names for one in (name, *self._groups.get(name, ()))}

    def _note_aliases(self, unit: Unit) -> None:
        node = unit.statement.node
        pairs: list[tuple[ast.expr, ast.expr]] = []
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                pairs += _pairs(target, node.value)
        groups: list[set[str]] = []
        rebound = unit.names.binds - unit.names.changes
        for target, value in pairs:
            kept = roots_of(value) | self._kept_by_class(value, unit)
            roots = {one for one in kept if self.kind(one, unit) in ("object", "class")}
            names = {one.id for one in ast.walk(target) if isinstance(one, ast.Name)}
            if roots:
                groups.append((self._with_aliases(roots) - rebound) | names)
        for name in rebound:
            if group := self._groups.pop(name, None):
                group.discard(name)
        for group in groups:
            self._groups.update(dict.fromkeys(group, group))

    def _kept_by_class(self, value: ast.expr, unit: Unit) -> set[str]:
        """The variables that a new object of a class of the notebook may keep: `Box(items)`."""
        if not (isinstance(value, ast.Call) and isinstance(value.func, ast.Name)):
            return set()
        if self.kind(value.func.id, unit) != "class":
            return set()
        given = [*value.args, *(keyword.value for keyword in value.keywords)]
        return {name for one in given for name in roots_of(one) if not self._is_constant(name, unit)}

    def _is_constant(self, name: str, unit: Unit) -> bool:
        made_by = self.creator(name, unit)
        node = made_by.statement.node if made_by else None
        return isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant)

    # --- functions of the notebook

    def changed_by(self, name: str, unit: Unit) -> tuple[frozenset[str], frozenset[int]]:
        """The global names that a call of a function or class changes, and the positions of changed arguments."""
        made_by = self.creator(name, unit)
        node = made_by.statement.node if made_by else None
        if isinstance(node, ast.ClassDef):
            made = {"__init__", "__new__", "__post_init__", "__call__"}
            methods = [one for one in node.body if isinstance(one, _Function) and one.name in made]
            found = [self._summary(one, unit) for one in methods]
            names = frozenset[str]().union(*(one for one, _ in found))
            return names, frozenset(n - 1 for _, positions in found for n in positions if n)
        return self._summary(node, unit) if isinstance(node, _Function) else (frozenset(), frozenset())

    def _summary(self, node: _Function, unit: Unit) -> tuple[frozenset[str], frozenset[int]]:
        if node not in self._summaries:
            self._summaries[node] = (frozenset(), frozenset())  # for a function that calls itself
            parameters = [one.arg for one in (*node.args.posonlyargs, *node.args.args)]
            changed: set[str] = set()
            for part in ast.walk(node):
                match part:
                    case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                        changed |= roots_of(part)
                    case ast.Call(func=ast.Attribute(attr=verb) as method):
                        if verb in CONTAINER_METHODS or changes_receiver(verb):
                            changed |= roots_of(method.value)
                    case ast.Call(func=ast.Name(id=called)):
                        changed |= self._by_call(part, called, unit)
            local = {one.arg for one in ast.walk(node) if isinstance(one, ast.arg)}
            stored = {
                one.id for one in ast.walk(node) if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load)
            }
            declared = {name for one in ast.walk(node) if isinstance(one, ast.Global) for name in one.names}
            names = frozenset(changed - local - (stored - declared)) | (stored & declared)
            self._summaries[node] = names, frozenset(n for n, one in enumerate(parameters) if one in changed)
        return self._summaries[node]

    def _by_call(self, call: ast.Call, called: str, unit: Unit) -> set[str]:
        if called in CHANGED_BY_BUILTIN:
            return roots_of(call.args[0]) if call.args else set()
        if self.kind(called, unit) not in ("function", "class"):
            return set()
        names, positions = self.changed_by(called, unit)
        return set(names).union(*(roots_of(one) for n, one in enumerate(call.args) if n in positions))

    def by_subclass(self, node: ast.ClassDef, unit: Unit) -> set[str]:
        """The names that the definition of a class changes through its bases and its metaclass."""
        changed: set[str] = set()
        pending = [name for one in (*node.bases, *(k.value for k in node.keywords)) for name in roots_of(one)]
        seen: set[str] = set()
        while pending:
            if (name := pending.pop()) in seen:
                continue
            seen.add(name)
            made_by = self.creator(name, unit)
            base = made_by.statement.node if made_by else None
            if isinstance(base, ast.ClassDef):
                pending += [name for one in base.bases for name in roots_of(one)]
                run = {"__init_subclass__", "__init__", "__new__", "__set_name__"}
                is_meta = any(roots_of(keyword.value) == {name} for keyword in node.keywords)
                run = run if is_meta else {"__init_subclass__"}
                for one in base.body:
                    if isinstance(one, _Function) and one.name in run:
                        changed |= self._summary(one, unit)[0]
                        # `cls.registry` is an attribute of the class that defines it.
                        changed |= {name} if 0 in self._summary(one, unit)[1] else set()
        return changed


def _pairs(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    """Which value each target gets: `a, b = b, a` has two."""
    sequence = ast.Tuple | ast.List
    if isinstance(target, sequence) and isinstance(value, sequence) and len(target.elts) == len(value.elts):
        return [pair for one in zip(target.elts, value.elts, strict=True) for pair in _pairs(*one)]
    return [(target, value)]


def _without_modules(unit: Unit, modules: set[str]) -> Unit:
    names = unit.names._replace(binds=unit.names.binds - modules, changes=unit.names.changes - modules)
    return replace(unit, statement=replace(unit.statement, names=names)) if modules else unit


@dataclass
class _Found:
    """The names that one unit changes."""

    finder: _Finder
    unit: Unit
    changed: set[str] = field(default_factory=set)
    unclear: set[str] = field(default_factory=set)
    awaited: set[str] = field(default_factory=set)
    _loops: dict[str, set[str]] = field(default_factory=dict)

    def read(self) -> None:
        node = self.unit.statement.node
        if isinstance(node, ast.Assert) or is_main_block(node):
            return
        hows: dict[int, _How] = {}
        for part in running_parts(node):
            match part:
                case ast.Expr(value=ast.Call() as call):
                    hows[id(call)] = "statement"
                case ast.Await(value=ast.Call() as call):
                    hows[id(call)] = "await"
                case ast.For() | ast.AsyncFor() | ast.comprehension():
                    self._alias(part.target, part.iter)
                case ast.withitem(context_expr=given, optional_vars=ast.expr() as target):
                    self._alias(target, given)
                case ast.AugAssign(target=ast.Name(id=name)):
                    self.changed.add(name)
                case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                    self.changed |= self._objects(part)
            if isinstance(part, _Function | ast.ClassDef):
                for decorator in part.decorator_list:
                    self._decorator(decorator, hows)
            if isinstance(part, ast.ClassDef):
                self.changed |= self.finder.by_subclass(part, self.unit)
            if isinstance(part, ast.Call):
                self._call(part, hows.get(id(part), "value"))

    def _alias(self, target: ast.expr, given: ast.expr) -> None:
        roots = {name for one in ast.walk(given) if isinstance(one, ast.Name) for name in [one.id]}
        for name in (one.id for one in ast.walk(target) if isinstance(one, ast.Name)):
            self._loops[name] = roots

    def _objects(self, node: ast.expr) -> set[str]:
        """The names of the object that an expression belongs to, also through the variable of a loop."""
        roots = roots_of(node, called=True)
        through = set[str]().union(*(self._loops.get(name, set()) for name in roots))
        through = {n for n in through if self.finder.kind(n, self.unit) in ("object", "class")}
        return {name for name in roots | through if name not in self.unit.names.binds or name in through} | (
            roots & self.unit.names.changes
        )

    def _decorator(self, decorator: ast.expr, hows: dict[int, _How]) -> None:
        if isinstance(decorator, ast.Call):
            hows[id(decorator)] = "decorator"
        elif isinstance(decorator, ast.Attribute):
            self._change(self._objects(decorator.value), modules=False)
        elif isinstance(decorator, ast.Name):
            kind = self.finder.kind(decorator.id, self.unit)
            if kind == "object":
                self.changed.add(decorator.id)
            elif kind in ("function", "class"):
                self.changed |= self.finder.changed_by(decorator.id, self.unit)[0]

    def _change(self, names: set[str], *, modules: bool = True) -> None:
        self.changed |= {n for n in names if modules or self.finder.kind(n, self.unit) != "import"}

    def _arguments(self, call: ast.Call, kinds: Sequence[_Kind] = ("object",)) -> set[str]:
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        given = [one.value if isinstance(one, ast.Starred) else one for one in given]
        names = {n for one in given if isinstance(one, ast.Name | ast.Attribute) for n in self._objects(one)}
        return {name for name in names if self.finder.kind(name, self.unit) in kinds}

    def _call(self, call: ast.Call, how: _How) -> None:
        if isinstance(call.func, ast.Attribute):
            self._method(call, call.func, how)
            return
        func = call.func
        while isinstance(func, ast.Call):  # `register("name")(function)`
            func = func.func
        if not isinstance(func, ast.Name):
            if isinstance(func, ast.Attribute) and how == "statement":  # `app.get("/")(function)`
                self._change(self._objects(func.value), modules=False)
            return
        kind = self.finder.kind(func.id, self.unit)
        if kind in ("function", "class"):
            names, positions = self.finder.changed_by(func.id, self.unit)
            given = [self._objects(one) for n, one in enumerate(call.args) if n in positions]
            self.changed |= set(names).union(*given)
        elif kind == "unknown":
            if func.id in CHANGED_BY_BUILTIN and call.args:
                self.changed |= self._objects(call.args[0])
        elif kind == "import" and not self.finder.displays(func.id, self.unit):
            self._imported(call, func.id, {func.id}, how)
        elif kind == "object" and how in ("statement", "decorator"):
            self.changed.add(func.id)

    def _method(self, call: ast.Call, method: ast.Attribute, how: _How) -> None:
        receivers, verb = self._objects(method.value), method.attr
        modules = {name for name in receivers if self.finder.kind(name, self.unit) == "import"}
        if any(self.finder.displays(name, self.unit) for name in modules):
            return
        if modules:
            self._imported(call, verb, modules, how)
            receivers -= modules
        receivers = {n for n in receivers if self.finder.kind(n, self.unit) not in ("service", "unknown")}
        if how == "decorator" or verb in CONTAINER_METHODS:
            self.changed |= receivers
        elif how == "await":
            self.awaited |= set() if only_uses(verb) else receivers
        elif how == "statement" and not only_uses(verb):
            self.changed |= receivers
            if not changes_receiver(verb):
                self.unclear |= receivers
        if how == "statement" and changes_argument(verb):
            self.changed |= self._arguments(call)

    def _imported(self, call: ast.Call, verb: str, modules: set[str], how: _How) -> None:
        """A call of an imported function, or of a function of an imported module."""
        if how == "decorator":
            self.changed |= self._arguments(call)
        elif how == "statement" and not only_uses(verb):
            given = self._arguments(call)
            self.changed |= given
            if changes_receiver(verb) or changes_argument(verb):
                self.changed |= modules
            else:
                self.unclear |= given
