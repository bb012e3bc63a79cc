"""Analysis of one top-level statement: the module-level names that it binds and uses."""

# ruff: noqa: N815 -- the names of ast.NodeVisitor's methods

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

from dynamo_nb.source.names import ANNOTATION, BASE, BY_NAME, PLAIN, SOFT, Names, Use
from dynamo_nb.source.scope import Scopes


def analyse(node: ast.stmt) -> Names:
    """The module-level names that a top-level statement binds and uses."""
    visitor = _Visitor()
    visitor.visit(node)
    scopes = visitor.scopes
    for name in sorted(_sometimes(node, scopes.bound)):
        scopes.use_of_module(Use(name, node.lineno, later=False, how=SOFT), bound=False)
    return Names(
        frozenset(scopes.bound),
        frozenset(scopes.weak),
        frozenset(visitor.changes),
        frozenset(visitor.appends),
        scopes.uses,
        visitor.await_line,
        visitor.unknown_line,
    )


def _sometimes(node: ast.stmt, bound: Iterable[str]) -> set[str]:
    """The names that a conditional statement may leave unbound."""
    if isinstance(node, ast.If | ast.Try | ast.Match):
        return set(bound) - _always([node])
    return set()


def _always(body: list[ast.stmt]) -> set[str]:
    """The names that a block binds on every path."""
    names: set[str] = set()
    for node in body:
        if isinstance(node, ast.If):
            names |= _always(node.body) & _always(node.orelse)
        elif isinstance(node, ast.Try):
            on_every_path = _always(node.body + node.orelse)
            for handler in node.handlers:
                on_every_path &= _always(handler.body)
            names |= on_every_path | _always(node.finalbody)
        elif isinstance(node, ast.With):
            names |= _always(node.body)
        elif not isinstance(node, ast.For | ast.While | ast.Match):
            names |= analyse(node).binds
    return names


_TAKING_TYPES = {"TypeVar", "NewType"}
"""Functions whose arguments after the first are types, which may be strings."""
_TAKING_SERVICES = {"depends"}
"""Functions that take a service by its name."""
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
"""Methods that change the built-in containers."""


class _Visitor(ast.NodeVisitor):
    """Walks over a statement and reports its names to `scopes`. `_how`: how names are used at this point."""

    def __init__(self) -> None:
        self.scopes = Scopes()
        self.changes: set[str] = set()
        self.appends: set[str] = set()
        self.await_line = 0
        self.unknown_line = 0
        self._how = PLAIN

    # --- names

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.scopes.use(node.id, node.lineno, self._how)
        elif isinstance(node.ctx, ast.Store) or self.scopes.kind != "module":
            self.scopes.bind(node.id, node.lineno)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._note_change(node)
        if isinstance(node.value, ast.Name):
            self.scopes.use(node.value.id, node.lineno, f".{node.attr}")
        else:
            self.visit(node.value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if _is_globals(node.value):
            self._by_text(node.slice, node)
        self._note_change(node)
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

    def _by_text(self, name: ast.expr, node: ast.Subscript) -> None:
        """Binds or uses a name of the module that is given as a text: `globals()["n"] = 1`."""
        if not (isinstance(name, ast.Constant) and isinstance(name.value, str)):
            self._note_unknown(node)
        elif isinstance(node.ctx, ast.Store):
            self._bind_in_module(name.value, node.lineno)
        else:
            later = self.scopes.in_function
            self.scopes.use_of_module(Use(name.value, node.lineno, later=later, how=PLAIN), bound=False)

    def _bind_in_module(self, name: str, line: int) -> None:
        if not self.scopes.in_function:
            self.scopes.bound.add(name)
        else:
            self.scopes.weak.add(name)
            self.scopes.use_of_module(Use(name, line, later=True, how=SOFT), bound=False)

    def _note_unknown(self, node: ast.expr) -> None:
        if not self.scopes.in_function and not isinstance(getattr(node, "ctx", None), ast.Load):
            self.unknown_line = self.unknown_line or node.lineno

    def _executes(self, node: ast.Call) -> None:
        """The names of code that is given as a text: `exec("n = 1")`, and of `globals().update(n=1)`."""
        match node:
            case ast.Call(func=ast.Name(id="exec" | "eval"), args=[ast.Constant(value=str() as text)], keywords=[]):
                try:
                    statements = ast.parse(text.strip()).body
                except SyntaxError:
                    return
                for names in map(analyse, statements):
                    for use in names.uses:
                        inner = use._replace(line=node.lineno, later=use.later or self.scopes.in_function)
                        self.scopes.use_of_module(inner)
                    for name in names.binds:
                        self._bind_in_module(name, node.lineno)
            case ast.Call(func=ast.Name(id="exec"), args=[_]):
                self._note_unknown(node)
            case ast.Call(func=ast.Attribute(attr="update", value=value)) if _is_globals(value):
                for keyword in node.keywords:
                    if keyword.arg:
                        self._bind_in_module(keyword.arg, node.lineno)
                if node.args or any(keyword.arg is None for keyword in node.keywords):
                    self._note_unknown(node)

    def _note_change(self, node: ast.Attribute | ast.Subscript) -> None:
        if isinstance(node.ctx, ast.Load) or self.scopes.kind != "module":
            return
        root: ast.expr = node
        while isinstance(root, ast.Attribute | ast.Subscript):
            root = root.value
        if isinstance(root, ast.Name):
            self.scopes.use(root.id, root.lineno, PLAIN)
            self.changes.add(root.id)
            self.scopes.bound.add(root.id)

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
            self.scopes.use(node.target.id, node.lineno, PLAIN)
        self.visit(node.target)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self.visit(target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)
        if self.scopes.kind != "function":  # annotations in a function are never evaluated
            self._with(ANNOTATION, node.annotation)
        if node.value or self.scopes.kind == "function":
            self.visit(node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self.scopes.bind_outside_comprehensions(node.target.id, node.lineno)

    def visit_Expr(self, node: ast.Expr) -> None:
        call = node.value
        if (
            self.scopes.kind == "module"
            and isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr in _CHANGING
            and isinstance(call.func.value, ast.Name)
        ):
            self.appends.add(call.func.value.id)
        self.visit(call)

    def visit_Call(self, node: ast.Call) -> None:
        callee = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        self._executes(node)
        self.visit(node.func)
        if callee in _TAKING_SERVICES and node.args and isinstance(name := node.args[0], ast.Constant):
            self.scopes.use_of_module(Use(str(name.value), name.lineno, later=True, how=BY_NAME), bound=False)
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
        self.scopes.bind(node.name, node.lineno)
        self._body(node.args, node.body)

    visit_FunctionDef = visit_AsyncFunctionDef = _function

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._arguments(node.args)
        self._body(node.args, [node.body])

    def _arguments(self, args: ast.arguments) -> None:
        self._with(PLAIN, *args.defaults, *args.kw_defaults)
        self._with(ANNOTATION, *(arg.annotation for arg in _all(args)))

    def _body(self, args: ast.arguments, body: Iterable[ast.AST]) -> None:
        self.scopes.enter("function", [arg.arg for arg in _all(args)])
        self._with(PLAIN, *body)
        self.scopes.leave()

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
        self.scopes.enter("class", ["__module__", "__qualname__"])
        self._with(PLAIN, *node.body)
        self.scopes.leave()
        self._end_type_params(node)
        self.scopes.bind(node.name, node.lineno)

    def _type_params(self, node: Any) -> None:  # Python 3.12
        if params := getattr(node, "type_params", ()):
            self.scopes.enter("comprehension", [param.name for param in params])
            for param in params:
                # A default came with Python 3.13.
                self._with(ANNOTATION, getattr(param, "bound", None), getattr(param, "default_value", None))

    def _end_type_params(self, node: Any) -> None:
        if getattr(node, "type_params", ()):
            self.scopes.leave()

    def visit_TypeAlias(self, node: Any) -> None:  # Python 3.12
        self._type_params(node)
        self._with(ANNOTATION, node.value)
        self._end_type_params(node)
        self.scopes.bind(node.name.id, node.lineno)

    def visit_Global(self, node: ast.Global) -> None:
        self.scopes.declare_global(node.names)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self.scopes.declare_nonlocal(node.names)

    # --- other binders

    def _comprehension(self, node: Any) -> None:
        first, *rest = node.generators
        self._with(PLAIN, first.iter)
        self.scopes.enter("comprehension")
        for generator in node.generators:
            if generator.is_async:
                self._note_await(node)
            self._with(PLAIN, *([generator.iter] if generator in rest else []), generator.target, *generator.ifs)
        parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        self._with(PLAIN, *parts)
        self.scopes.leave()

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name != "*":
                self.scopes.bind(alias.asname or alias.name.partition(".")[0], node.lineno)

    visit_Import = visit_ImportFrom = _import

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        if isinstance(node, ast.AsyncFor):
            self._note_await(node)
        self._with(PLAIN, node.iter, node.target, *node.body, *node.orelse)

    visit_For = visit_AsyncFor = _for

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        self._note_await(node)
        self.generic_visit(node)

    def visit_Await(self, node: ast.Await) -> None:
        self._note_await(node)
        self.generic_visit(node)

    def _note_await(self, node: Any) -> None:
        if not self.scopes.in_function:
            self.await_line = self.await_line or node.lineno

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type:
            self.visit(node.type)
        if node.name:
            self.scopes.bind(node.name, node.lineno)
        self._with(PLAIN, *node.body)

    def _pattern(self, node: Any) -> None:
        self.generic_visit(node)
        if name := getattr(node, "name", None) or getattr(node, "rest", None):
            self.scopes.bind(name, node.lineno)

    visit_MatchAs = visit_MatchStar = visit_MatchMapping = _pattern


def _is_globals(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "globals"


def _all(args: ast.arguments) -> list[ast.arg]:
    return [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, [args.vararg, args.kwarg])]
