"""Scope analysis of one top-level statement: the module-level names that it binds and those that it needs.

Python's own `symtable` knows neither string annotations nor lines, and says nothing about how a name is used.
"""

# ruff: noqa: N815 -- the names of ast.NodeVisitor's methods

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

PLAIN, ANNOTATION, BASE, SOFT, NAMED = "", "annotation", "base", "soft", "named"


class Use(NamedTuple):
    """A module-level name that a statement needs.

    later: from the body of a function, so when that is called, not when the statement runs. how: PLAIN, ANNOTATION,
    BASE (of a class), SOFT (used if it is there), ".attribute" that is read from it, or "callee(" of which it is the
    first argument. NAMED: a service of this name is meant, by a string.
    """

    name: str
    line: int
    later: bool
    how: str


class Names(NamedTuple):
    """binds: names bound when the statement runs. weak: names that its functions bind through `global`. changes: bound
    names that keep their object (`d["a"] = 1`). appends: names whose container is changed by a bare call
    (`xs.append(1)`). await_line: of an `await` outside any function, else 0.
    """

    binds: frozenset[str]
    weak: frozenset[str]
    changes: frozenset[str]
    appends: frozenset[str]
    uses: tuple[Use, ...]
    await_line: int


def analyse(node: ast.stmt) -> Names:
    visitor = _Visitor()
    visitor.visit(node)
    top = visitor.scopes[0]
    for name in sorted(_sometimes(node, top.bound)):
        visitor.module_use(Use(name, node.lineno, later=False, how=SOFT), bound=False)
    return Names(
        frozenset(top.bound),
        frozenset(visitor.weak),
        frozenset(visitor.changes),
        frozenset(visitor.appends),
        tuple(visitor.uses.values()),
        visitor.await_line,
    )


def _sometimes(node: ast.stmt, bound: Iterable[str]) -> set[str]:
    """The names that a conditional statement may leave as they were."""
    if isinstance(node, ast.If | ast.Try | ast.Match):
        return set(bound) - _always([node])
    return set()


def _always(body: list[ast.stmt]) -> set[str]:
    names: set[str] = set()
    for node in body:
        if isinstance(node, ast.If):
            names |= _always(node.body) & _always(node.orelse)
        elif isinstance(node, ast.Try):
            done = _always(node.body + node.orelse)
            for handler in node.handlers:
                done &= _always(handler.body)
            names |= done | _always(node.finalbody)
        elif isinstance(node, ast.With):
            names |= _always(node.body)
        elif not isinstance(node, ast.For | ast.While | ast.Match):
            names |= analyse(node).binds
    return names


# Whose arguments after the first, a name, are types, which may be written as strings.
_TAKING_TYPES = {"TypeVar", "NewType"}
# Which take a service by its name.
_NAMING = {"depends"}
# The methods by which built-in containers change.
_CHANGING = {
    "append",
    "appendleft",
    "extend",
    "insert",
    "add",
    "update",
    "setdefault",
    "remove",
    "discard",
    "pop",
    "clear",
}


@dataclass
class _Scope:
    kind: Literal["module", "class", "function", "comprehension"]
    bound: set[str] = field(default_factory=set)
    declared: set[str] = field(default_factory=set)  # global
    outer: set[str] = field(default_factory=set)  # nonlocal
    uses: list[Use] = field(default_factory=list)


class _Visitor(ast.NodeVisitor):
    """A function's uses wait until its scope is left, since a name bound on its last line is local on its first;
    a module and a class are read in order, as they run.
    """

    def __init__(self) -> None:
        self.scopes = [_Scope("module")]
        self.uses: dict[tuple[str, bool, str], Use] = {}
        self.weak: set[str] = set()
        self.changes: set[str] = set()
        self.appends: set[str] = set()
        self.await_line = 0
        self._how = PLAIN

    # --- scopes

    def _enter(self, kind: Literal["class", "function", "comprehension"], bound: Iterable[str] = ()) -> None:
        self.scopes.append(_Scope(kind, set(bound)))

    def _leave(self) -> None:
        scope = self.scopes.pop()
        for use in scope.uses:
            if use.name in scope.declared:
                self.module_use(use._replace(later=True), bound=False)
            elif use.name not in scope.bound or use.name in scope.outer:
                self._pass_up(use._replace(later=use.later or scope.kind == "function"))

    def _pass_up(self, use: Use) -> None:
        """Gives a name that is free here to the next scope that functions can see: no class is."""
        scope = next(scope for scope in reversed(self.scopes) if scope.kind != "class")
        if scope.kind == "module":
            self.module_use(use)
        else:
            scope.uses.append(use)

    def module_use(self, use: Use, *, bound: bool = True) -> None:
        if bound and not use.later and use.name in self.scopes[0].bound:
            return
        self.uses.setdefault((use.name, use.later, use.how), use)

    def _use(self, name: str, line: int, how: str) -> None:
        use, scope = Use(name, line, later=False, how=how), self.scopes[-1]
        if scope.kind in ("function", "comprehension"):
            scope.uses.append(use)
        elif scope.kind == "module":
            self.module_use(use)
        elif name not in scope.bound:
            self._pass_up(use)

    def _bind(self, name: str, line: int) -> None:
        scope = self.scopes[-1]
        if name in scope.declared:
            self.weak.add(name)
            self.module_use(Use(name, line, later=True, how=SOFT), bound=False)
        else:
            scope.bound.add(name)

    # --- names

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._use(node.id, node.lineno, self._how)
        elif isinstance(node.ctx, ast.Store) or self.scopes[-1].kind != "module":
            self._bind(node.id, node.lineno)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._changed(node)
        if isinstance(node.value, ast.Name):
            self._use(node.value.id, node.lineno, f".{node.attr}")
        else:
            self.visit(node.value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self._changed(node)
        self.visit(node.value)
        if self._how != ANNOTATION:
            self._with(PLAIN, node.slice)
            return
        kind = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
        if kind == "Annotated" and isinstance(node.slice, ast.Tuple):
            self.visit(node.slice.elts[0])
            self._with(PLAIN, *node.slice.elts[1:])
        elif kind != "Literal":
            self.visit(node.slice)

    def _changed(self, node: ast.Attribute | ast.Subscript) -> None:
        if isinstance(node.ctx, ast.Load) or self.scopes[-1].kind != "module":
            return
        root: ast.expr = node
        while isinstance(root, ast.Attribute | ast.Subscript):
            root = root.value
        if isinstance(root, ast.Name):
            self._use(root.id, root.lineno, PLAIN)
            self.changes.add(root.id)
            self.scopes[0].bound.add(root.id)

    def visit_Constant(self, node: ast.Constant) -> None:
        if self._how == ANNOTATION and isinstance(node.value, str):
            try:
                expression = ast.parse(node.value, mode="eval").body
            except SyntaxError:
                return
            for name in ast.walk(expression):
                ast.copy_location(name, node)
            self.visit(expression)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.visit(node.value)
        if isinstance(node.target, ast.Name):
            self._use(node.target.id, node.lineno, PLAIN)
        self.visit(node.target)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self.visit(target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)
        if self.scopes[-1].kind != "function":  # a function's local annotations are never evaluated
            self._with(ANNOTATION, node.annotation)
        if node.value or self.scopes[-1].kind == "function":
            self.visit(node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        inner = []
        while self.scopes[-1].kind == "comprehension":
            inner.append(self.scopes.pop())
        self._bind(node.target.id, node.lineno)
        self.scopes += reversed(inner)

    def visit_Expr(self, node: ast.Expr) -> None:
        call = node.value
        if (
            self.scopes[-1].kind == "module"
            and isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr in _CHANGING
            and isinstance(call.func.value, ast.Name)
        ):
            self.appends.add(call.func.value.id)
        self.visit(call)

    def visit_Call(self, node: ast.Call) -> None:
        callee = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        self.visit(node.func)
        if callee in _NAMING and node.args and isinstance(name := node.args[0], ast.Constant):
            self.module_use(Use(str(name.value), name.lineno, later=True, how=NAMED), bound=False)
        rest = ANNOTATION if callee in _TAKING_TYPES else PLAIN
        for index, argument in enumerate(node.args):
            first = f"{callee}(" if isinstance(argument, ast.Name) else PLAIN
            self._with(first if index == 0 else rest, argument)
        for keyword in node.keywords:
            self._with(rest, keyword.value)

    def _with(self, how: str, *nodes: ast.AST | None) -> None:
        before, self._how = self._how, how
        for node in nodes:
            if node is not None:
                self.visit(node)
        self._how = before

    # --- definitions

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._with(PLAIN, *node.decorator_list)
        self._type_params(node)
        self._arguments(node.args)
        self._with(ANNOTATION, node.returns)
        self._end_type_params(node)
        self._bind(node.name, node.lineno)
        self._body(node.args, node.body)

    visit_FunctionDef = visit_AsyncFunctionDef = _function

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._arguments(node.args)
        self._body(node.args, [node.body])

    def _arguments(self, args: ast.arguments) -> None:
        self._with(PLAIN, *args.defaults, *args.kw_defaults)
        self._with(ANNOTATION, *(arg.annotation for arg in _all(args)))

    def _body(self, args: ast.arguments, body: Iterable[ast.AST]) -> None:
        self._enter("function", [arg.arg for arg in _all(args)])
        self._with(PLAIN, *body)
        self._leave()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._with(PLAIN, *node.decorator_list)
        self._type_params(node)
        for base in node.bases:
            if isinstance(base, ast.Subscript):
                self._with(BASE if isinstance(base.value, ast.Name) else PLAIN, base.value)
                self._with(ANNOTATION, base.slice)
            else:
                self._with(BASE if isinstance(base, ast.Name) else PLAIN, base)
        self._with(PLAIN, *(keyword.value for keyword in node.keywords))
        self._enter("class", ["__module__", "__qualname__"])
        self._with(PLAIN, *node.body)
        self._leave()
        self._end_type_params(node)
        self._bind(node.name, node.lineno)

    def _type_params(self, node: Any) -> None:  # Python 3.12
        if params := getattr(node, "type_params", ()):
            self._enter("comprehension", [param.name for param in params])
            for param in params:
                # A default came with Python 3.13.
                self._with(ANNOTATION, getattr(param, "bound", None), getattr(param, "default_value", None))

    def _end_type_params(self, node: Any) -> None:
        if getattr(node, "type_params", ()):
            self._leave()

    def visit_TypeAlias(self, node: Any) -> None:  # Python 3.12
        self._type_params(node)
        self._with(ANNOTATION, node.value)
        self._end_type_params(node)
        self._bind(node.name.id, node.lineno)

    def visit_Global(self, node: ast.Global) -> None:
        self.scopes[-1].declared.update(node.names if self.scopes[-1].kind != "module" else ())

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self.scopes[-1].outer.update(node.names)

    # --- other binders

    def _comprehension(self, node: Any) -> None:
        first, *rest = node.generators
        self._with(PLAIN, first.iter)
        self._enter("comprehension")
        for generator in node.generators:
            if generator.is_async:
                self._awaits(node)
            self._with(PLAIN, *([generator.iter] if generator in rest else []), generator.target, *generator.ifs)
        parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        self._with(PLAIN, *parts)
        self._leave()

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name != "*":
                self._bind(alias.asname or alias.name.partition(".")[0], node.lineno)

    visit_Import = visit_ImportFrom = _import

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        if isinstance(node, ast.AsyncFor):
            self._awaits(node)
        self._with(PLAIN, node.iter, node.target, *node.body, *node.orelse)

    visit_For = visit_AsyncFor = _for

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        self._awaits(node)
        self.generic_visit(node)

    def visit_Await(self, node: ast.Await) -> None:
        self._awaits(node)
        self.generic_visit(node)

    def _awaits(self, node: Any) -> None:
        if all(scope.kind != "function" for scope in self.scopes):
            self.await_line = self.await_line or node.lineno

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type:
            self.visit(node.type)
        if node.name:
            self._bind(node.name, node.lineno)
        self._with(PLAIN, *node.body)

    def _pattern(self, node: Any) -> None:
        self.generic_visit(node)
        if name := getattr(node, "name", None) or getattr(node, "rest", None):
            self._bind(name, node.lineno)

    visit_MatchAs = visit_MatchStar = visit_MatchMapping = _pattern


def _all(args: ast.arguments) -> list[ast.arg]:
    return [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, [args.vararg, args.kwarg])]
