"""Effects: the objects that a statement changes without binding a name.

The rule, for code that runs at the top level of a cell:

- A decorator changes the object that it comes from (`@app.get("/")`), and the arguments of its call.
- A call of a function of the notebook changes what the function's body changes: its parameters and global names.
- A method of an object of a class of the notebook changes what the method's body changes.
- `setattr`, `delattr` and `next` change their first argument. `file=` and `out=` are changed.
- A method of a container that is handed over (`map(xs.append, new)`) changes the container.
- `with manager:` changes the manager.
- A call that is a statement of its own changes the object of the method (`app.add_middleware(M)`), and the variables
  that it hands to an imported function (`instrument(app)`).
- Names of one object (`router = app.router`) change together. A class that is defined runs `__init_subclass__` of its
  bases, `__init__` of its metaclass and `__set_name__` of its attributes. A call on an imported module may change the
  state of the process (`random.seed(7)`).
- Environment variables that a deployment sets in its workers (`CUDA_VISIBLE_DEVICES`) stay as it sets them.
- Calls that by their name only use an object do not count (`print`, `app.run()`), nor do calls of display libraries,
  of services (`Frontend.link(Backend)`), and calls that are awaited.
- A method whose name says neither is taken as a change, and listed as unclear. Such a call on an imported module is
  left out, and listed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from dynamo_nb.source.bindings import Bindings
from dynamo_nb.source.called_functions import CalledFunctions
from dynamo_nb.source.creators import Creators, Kind
from dynamo_nb.source.effect_verbs import (
    CHANGED_BY_BUILTIN,
    CHANGED_BY_BUILTIN_METHOD,
    CONTAINER_METHODS,
    changes_argument,
    changes_receiver,
    only_uses,
)
from dynamo_nb.source.interface import Aliases
from dynamo_nb.source.names import PLAIN, Use
from dynamo_nb.source.running_parts import is_main_block, roots_of, running_parts, sets_own_variable
from dynamo_nb.source.statements import Unit

_How = Literal["statement", "decorator", "value", "await"]
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Effects:
    """The units with their effects: names that a unit changes are among the names that it binds.

    state: units that change the state of the process, each with the imported package. unclear: units whose call may be
    a change or only a use, each with the names. left_out: calls that workers do not run, each with the names: awaited
    calls, which no module can have, and calls on modules that may be meant for the notebook alone.
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
        self._groups: dict[str, set[str]] = {}
        self.creators = Creators(self._bindings, known)
        self.functions = CalledFunctions(self.creators)
        self.kind = self.creators.kind

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
            left_out = frozenset(name for name in found.left_out if name in self._bindings)
            if unit.names.await_line:
                left_out |= changed
                new = unit
            else:
                new = self._changing(unit, changed)
                if unclear := frozenset(found.unclear) & changed:
                    result.unclear.append((new, unclear))
                modules = {name for name in changed if self.kind(name, unit) == "import"}
                result.state += [(new, self.creators.package(name, unit)) for name in sorted(modules)]
            if left_out:
                result.left_out.append((new, left_out))
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
            kept = roots_of(value) | self._kept_by_class(value, unit) | self._kept_by_value(value, unit)
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
        return {name for one in given for name in roots_of(one) if not self.creators.is_constant(name, unit)}

    def _kept_by_value(self, value: ast.expr, unit: Unit) -> set[str]:
        """The variables that a container keeps (`(items, 1)`), or a call that gets a method (`partial(xs.append)`)."""
        match value:
            case ast.List() | ast.Tuple() | ast.Set():
                given: list[ast.expr | None] = [*value.elts]
            case ast.Dict():
                given = [*value.values]
            case ast.Call():
                arguments = [*value.args, *(keyword.value for keyword in value.keywords)]
                given = [one for one in arguments if _is_method(one)]
            case ast.Attribute() if _is_method(value):
                given = [value]
            case _:
                return set()
        names = {name for one in given if one is not None for name in roots_of(one)}
        return {name for name in names if not self.creators.is_constant(name, unit)}


def _is_method(node: ast.AST) -> bool:
    """True for a method that changes its container, not called: `xs.append`."""
    return isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and node.attr in CONTAINER_METHODS


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
    left_out: set[str] = field(default_factory=set)
    _loops: dict[str, set[str]] = field(default_factory=dict)

    def read(self) -> None:
        node = self.unit.statement.node
        if isinstance(node, ast.Assert) or is_main_block(node):
            return
        hows: dict[int, _How] = {}
        called: set[int] = set()
        for part in running_parts(node):
            match part:
                case ast.Expr(value=ast.Call() as call):
                    hows[id(call)] = "statement"
                case ast.Expr(value=ast.Subscript() as read):
                    names = self._objects(read)
                    self.changed |= {one for one in names if self.finder.creators.changes_when_read(one, self.unit)}
                case ast.Await(value=ast.Call() as call):
                    hows[id(call)] = "await"
                case ast.For() | ast.AsyncFor() | ast.comprehension():
                    self._alias(part.target, part.iter)
                case ast.withitem(context_expr=given, optional_vars=target):
                    if target is not None:
                        self._alias(target, given)
                    self._enter(given)
                case ast.AugAssign(target=ast.Name(id=name)):
                    self.changed.add(name)
                case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                    self.changed |= self._objects(part)
            if isinstance(part, _Function | ast.ClassDef):
                for decorator in part.decorator_list:
                    self._decorator(decorator, hows)
            if isinstance(part, ast.ClassDef):
                self.changed |= self.finder.functions.by_definition(part, self.unit)
            if isinstance(part, ast.Attribute) and _is_method(part) and id(part) not in called:
                self._change(self._objects(part.value), modules=False)
            if isinstance(part, ast.Call):
                called.add(id(part.func))
                self._call(part, hows.get(id(part), "value"))

    def _alias(self, target: ast.expr, given: ast.expr) -> None:
        roots = {name for one in ast.walk(given) if isinstance(one, ast.Name) for name in [one.id]}
        for name in (one.id for one in ast.walk(target) if isinstance(one, ast.Name)):
            self._loops[name] = roots

    def _objects(self, node: ast.expr) -> set[str]:
        """The names of the object that an expression belongs to, also through the variable of a loop."""
        roots = roots_of(node, called=True) | self._returned(node)
        through = set[str]().union(*(self._loops.get(name, set()) for name in roots))
        through = {n for n in through if self.finder.kind(n, self.unit) in ("object", "class")}
        return {name for name in roots | through if name not in self.unit.names.binds or name in through} | (
            roots & self.unit.names.changes
        )

    def _returned(self, node: ast.expr) -> set[str]:
        """The objects that the call in an expression may return: `vars(item)["a"]`, `registry()["a"]`."""
        while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
            node = node.value
        match node:
            case ast.Call(func=ast.Name(id="vars" | "getattr"), args=[given, *_]):
                return roots_of(given, called=True)
            case ast.Call(func=ast.Name(id=name)) if self.finder.kind(name, self.unit) == "function":
                return set(self.finder.functions.mentioned_by(name, self.unit))
        return set()

    def _enter(self, manager: ast.expr) -> None:
        if isinstance(manager, ast.Name | ast.Attribute):
            for name in self._objects(manager):
                if self.finder.kind(name, self.unit) == "object":
                    names, positions = self.finder.functions.by_with(name, self.unit)
                    self.changed |= names | ({name} if -1 in positions else set())

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
                self.changed |= self.finder.functions.by_call(decorator.id, self.unit)[0]

    def _change(self, names: set[str], *, modules: bool = True) -> None:
        self.changed |= {n for n in names if modules or self.finder.kind(n, self.unit) != "import"}

    def _arguments(self, call: ast.Call, kinds: Sequence[Kind] = ("object",)) -> set[str]:
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        given = [one.value if isinstance(one, ast.Starred) else one for one in given]
        names = {n for one in given if isinstance(one, ast.Name | ast.Attribute) for n in self._objects(one)}
        return {name for name in names if self.finder.kind(name, self.unit) in kinds}

    def _call(self, call: ast.Call, how: _How) -> None:
        for keyword in call.keywords:
            if keyword.arg in ("file", "out"):
                self._change(self._objects(keyword.value), modules=False)
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
            names, positions = self.finder.functions.by_call(func.id, self.unit)
            given = [self._objects(one) for n, one in enumerate(call.args) if n in positions]
            self.changed |= set(names).union(*given)
        elif kind == "unknown":
            if func.id in CHANGED_BY_BUILTIN and call.args:
                self.changed |= self._objects(call.args[0])
        elif kind == "import":
            self._imported(call, func.id, {func.id}, how)
        elif kind == "object" and how in ("statement", "decorator"):
            self.changed.add(func.id)

    def _method(self, call: ast.Call, method: ast.Attribute, how: _How) -> None:
        receivers, verb = self._objects(method.value), method.attr
        modules = {name for name in receivers if self.finder.kind(name, self.unit) == "import"}
        if modules:
            self._imported(call, verb, modules, how)
            receivers -= modules
        builtin = isinstance(method.value, ast.Name) and self.finder.kind(method.value.id, self.unit) == "unknown"
        if builtin and call.args and (verb in CONTAINER_METHODS or verb in CHANGED_BY_BUILTIN_METHOD):
            self.changed |= self._objects(call.args[0])  # `dict.update(d, a=1)`
        receivers = {n for n in receivers if self.finder.kind(n, self.unit) not in ("service", "unknown")}
        if how != "await" and isinstance(method.value, ast.Name):
            known = self.finder.functions.by_method(method.value.id, verb, self.unit)
            if known is not None:
                self._known_method(call, receivers, *known)
                return
        if how == "decorator" or verb in CONTAINER_METHODS:
            self.changed |= receivers
        elif how == "await":
            self.left_out |= set() if only_uses(verb) else receivers
        elif how == "statement" and not only_uses(verb):
            self.changed |= receivers
            if not changes_receiver(verb):
                self.unclear |= receivers
        if how == "statement" and changes_argument(verb):
            self.changed |= self._arguments(call)

    def _known_method(
        self, call: ast.Call, receivers: set[str], names: frozenset[str], positions: frozenset[int]
    ) -> None:
        given = [self._objects(one) for n, one in enumerate(call.args) if n in positions]
        self.changed |= set(names).union(receivers if -1 in positions else (), *given)

    def _imported(self, call: ast.Call, verb: str, modules: set[str], how: _How) -> None:
        """A call of an imported function, or of a function of an imported module."""
        shows = any(self.finder.creators.displays(name, self.unit) for name in modules)
        if how == "decorator":
            self.changed |= set() if shows else self._arguments(call)
        elif how == "statement" and not only_uses(verb):
            changes = changes_receiver(verb) or changes_argument(verb)
            if shows and not changes:
                return
            given = set() if shows else self._arguments(call)
            self.changed |= given
            if changes:
                self.changed |= modules
            elif given:
                self.unclear |= given
            else:
                self.left_out |= modules
