"""The objects that the names of a notebook stand for, and the names that one object has."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from typing import Literal

from dynamo_nb.source.bindings import Bindings
from dynamo_nb.source.effect_verbs import CONTAINER_METHODS, DISPLAY_PACKAGES
from dynamo_nb.source.function_effects import FunctionEffects, shares_values
from dynamo_nb.source.interface import Aliases, is_service
from dynamo_nb.source.running_parts import roots_of, running_parts
from dynamo_nb.source.statements import Unit

_KEEPING = frozenset({"dict", "list", "tuple", "set", "zip", "enumerate", "map", "iter"})
"""Built-in functions whose value keeps what a display among their arguments has."""
Kind = Literal["import", "function", "class", "service", "object", "unknown"]


class Objects:
    """The objects of a notebook by their names, as each unit sees them.

    Args:
        units: In order of execution.
        known: The imported names of the SDK.
    """

    def __init__(self, units: Sequence[Unit], known: Aliases) -> None:
        self._bindings = Bindings(units)
        self._known = known
        self._groups: dict[str, set[str]] = {}
        self._inside: dict[str, set[str]] = {}
        classes = [unit.statement.node for unit in units if isinstance(unit.statement.node, ast.ClassDef)]
        self.functions = FunctionEffects(classes, self.definition)

    def __contains__(self, name: str) -> bool:
        return name in self._bindings

    def creator(self, name: str, unit: Unit) -> Unit | None:
        found = self._bindings.find(name, unit.position, user=unit)
        return self._bindings.creator(name, found[-1]) if found else None

    def definition(self, name: str, unit: Unit) -> ast.stmt | None:
        made_by = self.creator(name, unit)
        return made_by.statement.node if made_by else None

    def kind(self, name: str, unit: Unit) -> Kind:
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

    def mentioned_by(self, name: str, unit: Unit) -> set[str]:
        """The objects that the body of a function names, of which it may return one."""
        made_by = self.creator(name, unit)
        uses = made_by.names.uses if made_by else ()
        return {use.name for use in uses if self.kind(use.name, unit) == "object"}

    def changes_when_used(self, name: str, unit: Unit) -> bool:
        """True for an iterator, and for an object whose class has special methods that change it."""
        match self.value_of(name, unit):
            case ast.GeneratorExp() | ast.Call(func=ast.Name(id="iter" | "map" | "filter" | "zip" | "enumerate")):
                return True
            case ast.Call(func=ast.Name(id=called)) if self.functions.is_generator(called, unit):
                return True
        cls = self.class_of(name, unit)
        return cls is not None and self.functions.has_changing_operators(cls, unit)

    def changes_when_read(self, name: str, unit: Unit) -> bool:
        """True for a `defaultdict`, which keeps the keys that it is asked for."""
        match self.value_of(name, unit):
            case ast.Call(func=made):
                return (made.attr if isinstance(made, ast.Attribute) else getattr(made, "id", "")) == "defaultdict"
        return False

    def package(self, name: str, unit: Unit) -> str:
        made_by = self.creator(name, unit)
        node = made_by.statement.node if made_by else None
        if isinstance(node, ast.ImportFrom):
            return (node.module or "").partition(".")[0]
        return node.names[0].name.partition(".")[0] if isinstance(node, ast.Import) else name

    def displays(self, name: str, unit: Unit) -> bool:
        return self.package(name, unit) in DISPLAY_PACKAGES

    def with_aliases(self, names: Iterable[str]) -> set[str]:
        return {one for name in names for one in (name, *self._groups.get(name, ()))}

    def inside(self, names: Iterable[str]) -> set[str]:
        """The variables that were put into containers: those of which `items[0].x = 1` changes one."""
        found, pending = set[str](), list(names)
        while pending:
            if new := self._inside.get(pending.pop(), set()) - found:
                found |= new
                pending += new
        return found

    def note_aliases(self, unit: Unit) -> None:
        """Takes in the names that a statement makes names of one object, after it ran."""
        node = unit.statement.node
        pairs: list[tuple[ast.expr, ast.expr]] = []
        groups: list[set[str]] = []
        for part in running_parts(node):
            match part:
                case ast.Assign(targets=targets, value=value):
                    pairs += [pair for target in targets for pair in _pairs(target, value)]
                    if len(targets) > 1:
                        groups.append({one.id for one in targets if isinstance(one, ast.Name)})
                case (
                    ast.AnnAssign(target=target, value=ast.expr() as value) | ast.NamedExpr(target=target, value=value)
                ):
                    pairs += _pairs(target, value)
                case ast.For(target=target, iter=value) | ast.AsyncFor(target=target, iter=value):
                    pairs += [(target, one) for one in ast.walk(value) if isinstance(one, ast.Name)]
                case ast.withitem(context_expr=value, optional_vars=ast.expr() as target):
                    pairs += [(target, one) for one in ast.walk(value) if isinstance(one, ast.Name)]
                case ast.Call(func=ast.Attribute(attr=verb, value=container)) if verb in CONTAINER_METHODS:
                    self._put(roots_of(container), [*part.args, *(one.value for one in part.keywords)], unit)
        # `xs += […]` mostly keeps the object.
        rebound = frozenset() if isinstance(node, ast.AugAssign) else unit.names.binds - unit.names.changes
        for target, value in pairs:
            roots = {one for one in self._kept(value, unit) if self.kind(one, unit) in ("object", "class")}
            names = {one.id for one in ast.walk(target) if isinstance(one, ast.Name)}
            if roots:
                groups.append((self.with_aliases(roots) - rebound) | names)
        for name in rebound:
            self._inside.pop(name, None)
            if group := self._groups.pop(name, None):
                group.discard(name)
        for group in groups:
            self._groups.update(dict.fromkeys(group, group))

    def _put(self, containers: Iterable[str], given: Sequence[ast.expr], unit: Unit) -> None:
        variables = {name for one in given for name in roots_of(one) if not self._is_constant(name, unit)}
        objects = {name for name in variables if self.kind(name, unit) == "object"}
        for name in containers:
            self._inside[name] = self._inside.get(name, set()) | objects - {name}

    def _kept(self, value: ast.expr, unit: Unit) -> set[str]:
        """The variables whose object a value may be, or may keep."""
        names = roots_of(value) | self._kept_by_call(value, unit)
        match value:
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                names |= {one.id for one in ast.walk(value) if isinstance(one, ast.Name)}
            case ast.Call(func=ast.Name(id=called)) if called in _KEEPING:
                parts = [one for one in value.args if isinstance(one, ast.Tuple | ast.List | ast.Dict | ast.Set)]
                names = names.union(*(roots_of(one) for one in (*parts, *(one.value for one in value.keywords))))
        return {one for one in names if not self._is_constant(one, unit)}

    def _kept_by_call(self, value: ast.expr, unit: Unit) -> set[str]:
        """The variables that the value of a call may be, or may keep: `Box(items)`, `known.get("a", items)`."""
        found: set[str] = set()
        match value:
            case ast.Call(func=ast.Name(id=called)):
                if called != "partial" and self.kind(called, unit) not in ("class", "function", "object"):
                    return set()
                cls = self.definition(called, unit)
                if isinstance(cls, ast.ClassDef) and shares_values(cls):
                    found.add(called)
            case _:
                return set()
        given = [*value.args, *(keyword.value for keyword in value.keywords)]
        return found | {name for one in given for name in roots_of(one) if not self._is_constant(name, unit)}

    def value_of(self, name: str, unit: Unit) -> ast.expr | None:
        """The expression that made the object of a name, where an assignment shows it."""
        node = self.definition(name, unit)
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            return None
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        pairs = (pair for target in targets for pair in _pairs(target, node.value))
        return next((value for one, value in pairs if isinstance(one, ast.Name) and one.id == name), None)

    def _is_constant(self, name: str, unit: Unit) -> bool:
        return isinstance(self.value_of(name, unit), ast.Constant)

    def class_of(self, name: str, unit: Unit) -> ast.ClassDef | None:
        """The class of the notebook that an object is made of."""
        match self.value_of(name, unit):
            case ast.Call(func=ast.Name(id=called)):
                cls = self.definition(called, unit)
                return cls if isinstance(cls, ast.ClassDef) else None
        return None

    def is_stateful(self, name: str, unit: Unit) -> bool:
        """True if an object is a function that a function of the notebook returned, with state of its own."""
        match self.value_of(name, unit):
            case ast.Call(func=ast.Name(id=called)):
                return self.functions.makes_state(called, unit)
        return False


def _pairs(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    """Which value each target gets: `a, b = b, a` has two."""
    sequence = ast.Tuple | ast.List
    if isinstance(target, sequence) and isinstance(value, sequence) and len(target.elts) == len(value.elts):
        return [pair for one in zip(target.elts, value.elts, strict=True) for pair in _pairs(*one)]
    return [(target, value)]
