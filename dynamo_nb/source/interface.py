"""The interface of a service: its class with address and endpoint signatures, without any implementation.

A service that depends on another imports this, and so none of the other's own imports. It has only what matters to
callers, since the callers' workers are replaced when it changes.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterable, Sequence
from contextlib import suppress
from copy import copy
from functools import lru_cache
from typing import TypeVar

from dynamo_nb.source.analysis import analyse
from dynamo_nb.source.first_line import lines_of
from dynamo_nb.source.names import ANNOTATION, BASE, Use
from dynamo_nb.source.statements import Statement, first_line

ENDPOINTS = {"dynamo_endpoint", "endpoint", "dynamo_api", "api", "abstract_endpoint"}
"""The decorators of endpoints."""
_DECORATORS = ENDPOINTS | {"service", "depends"}
_ADDRESS = {".dynamo_address", ".link", ".unlink"}
"""Attributes of a service's class that its interface has."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Definition = TypeVar("_Definition", bound=ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
Aliases = frozenset[tuple[str, str]]


def aliases(statements: Iterable[Statement]) -> Aliases:
    """The names under which cells import the decorators: `from dynamo_nb import service as svc`."""
    return aliases_of_imports(statement.node for statement in statements)


def aliases_of_imports(nodes: Iterable[ast.stmt]) -> Aliases:
    """Returns the names of the decorators in import statements.

    Args:
        nodes: Statements. Only import statements are read.
    """
    return frozenset(
        (alias.asname, alias.name)
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname and alias.name in _DECORATORS
    )


def is_service(node: ast.stmt, known: Aliases) -> bool:
    """True if this is a class with the decorator `@service`, under any alias."""
    return isinstance(node, ast.ClassDef) and any(
        decorator_name(one, known) == "service" for one in node.decorator_list
    )


def service_name(node: ast.ClassDef, known: Aliases) -> str:
    """The name of a service if it is a literal in `@service`; else the name of its class."""
    for decorator in node.decorator_list:
        if not isinstance(decorator, ast.Call) or decorator_name(decorator, known) != "service":
            continue
        for dynamo in (one.value for one in decorator.keywords if one.arg == "dynamo"):
            with suppress(ValueError):
                if isinstance(value := ast.literal_eval(dynamo), dict):
                    return str(value.get("name") or node.name)
    return node.name


def needs_interface_only(use: Use, known: Aliases, *, of_interface: bool) -> bool:
    """True if the interface of a service is enough for a use of its class. of_interface: the user is an interface."""
    if use.how == BASE:
        return of_interface
    if use.how.endswith("("):
        return dict(known).get(use.how[:-1], use.how[:-1]) == "depends"
    return use.how == ANNOTATION or use.how in _ADDRESS


@lru_cache(maxsize=512)
def interface(statement: Statement, known: Aliases) -> Statement:
    """The interface of the class that `statement` defines, as a statement."""
    node = ast.parse(statement.text).body[0]
    assert isinstance(node, ast.ClassDef)
    lines = lines_of(statement.text)
    signatures = {id(one): signature for one in node.body if (signature := _signature(one, known))}
    needed = _statements_for(signatures.values(), node)
    text: list[str] = []
    members: list[ast.stmt] = []
    for one in node.body:
        if id(one) in signatures:
            text += [*([""] if text else []), *_method(one, lines, signatures[id(one)])]
            members.append(signatures[id(one)])
        elif id(one) in needed:
            text += lines[first_line(one) - 1 : one.end_lineno]
            members.append(one)
    bare = _bare(
        node, [_address(one) for one in node.decorator_list if decorator_name(one, known) == "service"], members
    )
    decorators = [f"@{_as_typed(one, statement.text)}" for one in bare.decorator_list]
    text = [*decorators, *_head(node, lines, []), *(text or ["    pass"])]
    names, moved = analyse(bare), statement.line - first_line(node)
    names = names._replace(uses=tuple(use._replace(line=use.line + moved) for use in names.uses))
    return Statement("\n".join(text), statement.line, statement.end_line, bare, names)


def decorator_name(decorator: ast.expr, known: Aliases) -> str:
    """Returns the original name of a decorator, without its arguments; "" for other expressions.

    Args:
        decorator: The decorator.
        known: Other names of imported decorators.
    """
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    if isinstance(called, ast.Attribute):
        return called.attr
    return dict(known).get(called.id, called.id) if isinstance(called, ast.Name) else ""


def _address(decorator: ast.expr) -> ast.expr:
    """The decorator of a service, with the arguments that determine its address."""
    if not isinstance(decorator, ast.Call):
        return decorator
    arguments = [one for one in decorator.keywords if one.arg in {"dynamo", None}]  # None: `**` may contain it
    return ast.copy_location(ast.Call(decorator.func, [], arguments), decorator) if arguments else decorator.func


def _as_typed(decorator: ast.expr, source: str) -> str:
    """The text of an `_address`; arguments on one line are as they were typed."""
    if not isinstance(decorator, ast.Call):
        return ast.unparse(decorator)
    arguments = []
    for one in decorator.keywords:
        typed = ast.get_source_segment(source, one.value) or ""
        value = ast.unparse(one.value) if "\n" in typed else typed
        arguments.append(f"{one.arg}={value}" if one.arg else f"**{value}")
    return f"{ast.unparse(decorator.func)}({', '.join(arguments)})"


def _bare(node: _Definition, decorators: list[ast.expr], body: Sequence[ast.stmt] = ()) -> _Definition:
    """The definition with other decorators and another body."""
    bare = copy(node)
    bare.decorator_list, bare.body = decorators, list(body) or [ast.Pass()]
    return bare


def _signature(node: ast.stmt, known: Aliases) -> _Function | None:
    """An endpoint without its body and other decorators; None for other statements."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    decorators = [one for one in node.decorator_list if decorator_name(one, known) in ENDPOINTS]
    return _bare(node, decorators) if decorators else None


def _statements_for(signatures: Iterable[_Function], node: ast.ClassDef) -> set[int]:
    """The ids of the statements in a class whose names the signatures of its endpoints use."""
    pending = [analyse(one) for one in signatures]
    members = [(one, analyse(one)) for one in node.body]
    needed: set[int] = set()
    while pending:
        used = {use.name for use in pending.pop().uses}
        for one, names in members:
            if names.binds & used and id(one) not in needed:
                needed.add(id(one))
                pending.append(names)
    return needed


def _on_own_line(node: ast.stmt, lines: list[str]) -> bool:
    return not lines[first_line(node) - 1].encode()[: node.col_offset].strip()


def _method(node: ast.stmt, lines: list[str], signature: _Function) -> list[str]:
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    indent = " " * (node.body[0].col_offset if _on_own_line(node.body[0], lines) else node.col_offset + 4)
    body = [f"{indent}raise NotImplementedError", *([f"{indent}yield"] if yields(node) else [])]
    return [*_head(node, lines, signature.decorator_list), *body]


def _head(node: ast.ClassDef | _Function, lines: list[str], decorators: list[ast.expr]) -> list[str]:
    """The lines of the decorators and the signature; as they were typed if the body starts on another line."""
    head = [line for one in decorators for line in lines[one.lineno - 1 : one.end_lineno]]
    if _on_own_line(node.body[0], lines):
        signature = lines[node.lineno - 1 : first_line(node.body[0]) - 1]
        while not signature[-1].strip() or signature[-1].lstrip().startswith("#"):
            signature.pop()
        return head + signature
    return head + textwrap.indent(ast.unparse(_bare(node, [])), " " * node.col_offset).splitlines()[:-1]


def yields(function: ast.AST) -> bool:
    """Returns True if a function is a generator.

    Args:
        function: The function.
    """
    for child in ast.iter_child_nodes(function):
        if isinstance(child, ast.Yield | ast.YieldFrom):
            return True
        nested = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda)
        if not nested and yields(child):
            return True
    return False
