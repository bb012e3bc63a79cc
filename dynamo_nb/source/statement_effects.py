"""The names whose objects one statement changes, read from its text."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from dynamo_nb.source.effect_verbs import (
    CHANGED_BY_BUILTIN,
    CHANGED_BY_BUILTIN_METHOD,
    CONTAINER_METHODS,
    changes_argument,
    changes_receiver,
    only_uses,
    seems_to_use,
)
from dynamo_nb.source.function_effects import Changes, is_container_method
from dynamo_nb.source.objects import Kind, Objects
from dynamo_nb.source.running_parts import is_main_block, roots_of, running_parts
from dynamo_nb.source.statements import Unit

_How = Literal["statement", "decorator", "value", "await"]
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class StatementEffects:
    """The names that one unit changes.

    unclear: those of them that a call may change or only use. left_out: those of calls that workers do not run.
    """

    objects: Objects
    unit: Unit
    changed: set[str] = field(default_factory=set)
    unclear: set[str] = field(default_factory=set)
    left_out: set[str] = field(default_factory=set)
    _loops: dict[str, set[str]] = field(default_factory=dict)

    def read(self) -> None:
        self._read(self.unit.statement.node)

    def _read(self, node: ast.stmt) -> None:
        if is_main_block(node):
            return
        hows: dict[int, _How] = {}
        called: set[int] = set()
        for part in running_parts(node):
            match part:
                case ast.Expr(value=ast.Call() as call):
                    hows[id(call)] = "statement"
                case ast.Subscript(ctx=ast.Load()):
                    self.changed |= {n for n in self._objects(part) if self.objects.changes_when_read(n, self.unit)}
                case ast.Name(id=name, ctx=ast.Load()) if self.objects.changes_when_used(name, self.unit):
                    self.changed.add(name)
                case ast.Await(value=ast.Call() as call):
                    hows[id(call)] = "await"
                case ast.For() | ast.AsyncFor() | ast.comprehension():
                    self._alias(part.target, part.iter)
                case ast.withitem(context_expr=given):
                    self._block(given)
                    if part.optional_vars is not None:
                        self._alias(part.optional_vars, given)
                case ast.AugAssign(target=ast.Name(id=name)):
                    self.changed.add(name)
                case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                    self.changed |= self._objects(part)
            if isinstance(part, _Function | ast.ClassDef):
                for decorator in part.decorator_list:
                    self._decorator(decorator, hows)
            if isinstance(part, ast.ClassDef):
                self.changed |= self.objects.functions.by_definition(part, self.unit)
            if isinstance(part, ast.Attribute) and is_container_method(part) and id(part) not in called:
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
        if any(map(_is_class_of, ast.walk(node))):
            classes = {cls.name for name in roots if (cls := self.objects.class_of(name, self.unit))}
            roots |= {name for name in classes if self.objects.kind(name, self.unit) == "class"}
        if not isinstance(node, ast.Name):
            roots |= self.objects.inside(roots)
        through = set[str]().union(*(self._loops.get(name, set()) for name in roots))
        through |= self.objects.inside(through)
        through = {n for n in through if self.objects.kind(n, self.unit) in ("object", "class")}
        return {name for name in roots | through if name not in self.unit.names.binds or name in through} | (
            roots & self.unit.names.changes
        )

    def _returned(self, node: ast.expr) -> set[str]:
        """The objects that the call in an expression may return: `getattr(item, "a")["b"]`, `registry()["a"]`."""
        while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
            node = node.value
        match node:
            case ast.Call(func=ast.Name(id="getattr"), args=[given, *_]):
                return roots_of(given, called=True)
            case ast.Call(func=ast.Name(id=name)) if self.objects.kind(name, self.unit) == "function":
                return self.objects.mentioned_by(name, self.unit)
        return set()

    def _decorator(self, decorator: ast.expr, hows: dict[int, _How]) -> None:
        if isinstance(decorator, ast.Call):
            hows[id(decorator)] = "decorator"
        elif isinstance(decorator, ast.Attribute):
            self._change(self._objects(decorator.value), modules=False)
        elif isinstance(decorator, ast.Name):
            kind = self.objects.kind(decorator.id, self.unit)
            if kind == "object":
                self.changed.add(decorator.id)
            elif kind in ("function", "class"):
                self._known(self.objects.functions.of_name(decorator.id, self.unit), decorator.id)

    def _change(self, names: set[str], *, modules: bool = True) -> None:
        self.changed |= {n for n in names if modules or self.objects.kind(n, self.unit) != "import"}

    def _arguments(self, call: ast.Call, kinds: Sequence[Kind] = ("object",)) -> set[str]:
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        given = [one.value if isinstance(one, ast.Starred) else one for one in given]
        names = {n for one in given if isinstance(one, ast.Name | ast.Attribute) for n in self._objects(one)}
        return {name for name in names if self.objects.kind(name, self.unit) in kinds}

    def _call(self, call: ast.Call, how: _How) -> None:
        for keyword in call.keywords:
            if keyword.arg in ("file", "out"):
                self._change(self._objects(keyword.value), modules=False)
        self._handed_over(call)
        if isinstance(call.func, ast.Attribute):
            self._method(call, call.func, how)
            return
        func = call.func
        while isinstance(func, ast.Call):  # `register("name")(function)`
            func = func.func
        if not isinstance(func, ast.Name):
            if isinstance(func, ast.Lambda):
                self._known([self.objects.functions.of(func, self.unit)], "", call)
            elif isinstance(func, ast.Attribute) and how == "statement":  # `app.get("/")(function)`
                self._change(self._objects(func.value), modules=False)
            return
        kind = self.objects.kind(func.id, self.unit)
        known = self.objects.functions.of_name(func.id, self.unit)
        if kind in ("function", "class") or known:
            self._known(known, func.id, call)
        elif kind == "unknown":
            if func.id in ("exec", "eval"):
                self._execute(call)
            if func.id in CHANGED_BY_BUILTIN and call.args:
                self.changed |= self._objects(call.args[0])
            elif func.id == "type" and len(call.args) == len(("name", "bases", "attributes")):
                self.changed |= self.objects.functions.by_bases([call.args[1]], [], self.unit)
        elif kind == "import":
            self._imported(call, func.id, {func.id}, how)
        elif kind == "object":
            called, exact = self._of_class("__call__", {func.id})
            self._known(called, "", call, bound=True)
            changes = not exact and (how in ("statement", "decorator") or self.objects.is_stateful(func.id, self.unit))
            if changes or any(one.first for one in called):
                self.changed.add(func.id)

    def _execute(self, call: ast.Call) -> None:
        """Adds what code in a text changes: `exec("xs.append(1)")`."""
        if call.args and isinstance(text := call.args[0], ast.Constant) and isinstance(text.value, str):
            with suppress(SyntaxError):
                for statement in ast.parse(text.value.strip()).body:
                    self._read(statement)

    def _handed_over(self, call: ast.Call) -> None:
        """Adds what the functions among the arguments change: the call may call them, as `map` does."""
        for one in (*call.args, *(keyword.value for keyword in call.keywords)):
            match one:
                case ast.Attribute(attr=verb, value=value):
                    known, _ = self._of_class(verb, roots_of(value))
                    self._known(known, "")
                    if verb in CONTAINER_METHODS or any(changes.first for changes in known):
                        self.changed |= self._objects(value)
                case ast.Name(id=name) if self.objects.kind(name, self.unit) == "function":
                    self._known(self.objects.functions.of_name(name, self.unit), name)
                case ast.Lambda():
                    self._known([self.objects.functions.of(one, self.unit)], "")

    def _known(
        self, known: Sequence[Changes], called: str, call: ast.Call | None = None, *, bound: bool = False
    ) -> None:
        """Adds what a call changes by the summaries of its function. called: its name."""
        for changes in known:
            self.changed |= changes.names
            if changes.keeps and called:
                self.changed.add(called)
            if call is not None:
                self.changed |= set[str]().union(*(self._objects(one) for one in changes.given(call, bound=bound)))

    def _of_class(self, verb: str, receivers: set[str]) -> tuple[list[Changes], bool]:
        """The changes by a method of this name in the notebook, and whether it is the objects' own."""
        found: list[Changes] = []
        exact = bool(receivers)
        for name in receivers:
            is_class = self.objects.kind(name, self.unit) == "class"
            node = self.objects.definition(name, self.unit) if is_class else self.objects.class_of(name, self.unit)
            cls = node if isinstance(node, ast.ClassDef) else None
            known = self.objects.functions.of_method(verb, cls, self.unit)
            exact = exact and cls is not None and known is not None
            found += known or []
        return found, exact

    def _block(self, manager: ast.expr) -> None:
        """Adds what a `with` of an object changes."""
        if not isinstance(manager, ast.Name | ast.Attribute):
            return
        receivers = {n for n in self._objects(manager) if self.objects.kind(n, self.unit) == "object"}
        for verb in ("__enter__", "__exit__", "__aenter__", "__aexit__"):
            known, exact = self._of_class(verb, receivers)
            self._known(known, "")
            self.changed |= receivers if not exact or any(one.first for one in known) else set()

    def _method(self, call: ast.Call, method: ast.Attribute, how: _How) -> None:
        receivers, verb = self._objects(method.value), method.attr
        modules = {name for name in receivers if self.objects.kind(name, self.unit) == "import"}
        if modules:
            self._imported(call, verb, modules, how)
            receivers -= modules
        builtin = isinstance(method.value, ast.Name) and self.objects.kind(method.value.id, self.unit) == "unknown"
        if builtin and call.args and (verb in CONTAINER_METHODS or verb in CHANGED_BY_BUILTIN_METHOD):
            self.changed |= self._objects(call.args[0])  # `dict.update(d, a=1)`
        receivers = {n for n in receivers if self.objects.kind(n, self.unit) not in ("service", "unknown")}
        known, exact = self._of_class(verb, receivers)
        self._known(known, "", call, bound=True)
        if how == "decorator" or verb in CONTAINER_METHODS or any(one.first for one in known):
            self.changed |= receivers
        elif exact:
            return
        elif how == "await":
            self.left_out |= set() if only_uses(verb) else receivers
        elif how == "statement" and not only_uses(verb):
            self.changed |= receivers
            if not changes_receiver(verb):
                self.unclear |= receivers
        elif how == "statement" and seems_to_use(verb):
            self.left_out |= receivers
        if how == "statement" and changes_argument(verb):
            self.changed |= self._arguments(call)

    def _imported(self, call: ast.Call, verb: str, modules: set[str], how: _How) -> None:
        """A call of an imported function, or of a function of an imported module."""
        shows = any(self.objects.displays(name, self.unit) for name in modules)
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


def _is_class_of(node: ast.AST) -> bool:
    """True for `type(x)` and `x.__class__`."""
    return (isinstance(node, ast.Attribute) and node.attr == "__class__") or (
        isinstance(node, ast.Call) and getattr(node.func, "id", "") == "type"
    )
