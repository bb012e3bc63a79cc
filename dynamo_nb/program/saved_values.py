"""Values of a saved notebook that are known without running its cells: literals, and names bound to literals."""

from __future__ import annotations

import ast
import copy
import json
import operator
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from dynamo_nb.config.yaml_layer import from_yaml


@dataclass(frozen=True)
class Unread:
    """Replaces a value that is known only when the cell runs. text: the expression."""

    text: str


@dataclass(frozen=True)
class EntryClass:
    """The class of a service, or its graph. name: name of the class."""

    name: str


@dataclass(frozen=True)
class _OpenFile:
    path: Path


class _UnreadError(Exception):
    """The value of an expression is known only when it runs."""


_LARGEST: Final = 2**64
_LONGEST_SHIFT: Final = 128
"""Bounds of operands: an expression in a notebook must not block this process."""
_PURE: Final = frozenset(
    {"get", "items", "keys", "values", "copy", "index", "count", "read_text", "exists", "format", "strip", "split"}
)
"""Methods that do not change their object."""
_OPERATIONS: Final[Mapping[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.BitOr: operator.or_,
    ast.Mult: operator.mul,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
}
_UNARY: Final[Mapping[type[ast.unaryop], Callable[[Any], Any]]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
    ast.Invert: operator.invert,
}
_CONVERSIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "dict": dict,
    "list": list,
    "tuple": tuple,
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "Path": Path,
    "deepcopy": copy.deepcopy,
}


class SavedValues:
    """The values of a notebook's names, after each of its statements in turn.

    Args:
        folder: The folder of the notebook. Paths of files are relative to it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, Any] = {}
        self._functions: set[str] = set()
        self._written: dict[Path, str] = {}

    def write_file(self, path: str, text: str) -> None:
        """Records the text that a cell writes to a file.

        Args:
            path: Path of the file.
            text: The text.
        """
        self._written[self.resolved(path)] = text

    def written_text(self, path: str | Path) -> str | None:
        """Returns the text that an earlier cell writes to a file; None if no cell does.

        Args:
            path: Path of the file.
        """
        return self._written.get(self.resolved(path))

    def resolved(self, path: str | Path) -> Path:
        """Returns the absolute path of a file in a cell.

        Args:
            path: The path in the cell.
        """
        return (self._folder / Path(path).expanduser()).resolve()

    def entry(self, node: ast.expr) -> str:
        """Returns the name of the served class; "" if it is not known.

        Args:
            node: The first argument of `serve`.
        """
        value = self.value(node)
        return value.name if isinstance(value, EntryClass) else node.id if isinstance(node, ast.Name) else ""

    def value(self, node: ast.expr) -> Any:
        """Returns the value of an expression. An `Unread` replaces a value that is not known, also within a mapping.

        Args:
            node: The expression.
        """
        try:
            return copy.deepcopy(self._value(node))
        except Exception:  # the operations on the notebook's values may raise anything
            return Unread(ast.unparse(node))

    # --- statements ------------------------------------------------------------------------------------------------

    def run(self, statement: ast.stmt) -> None:
        """Records the names that a statement binds and changes, without running it.

        Args:
            statement: The statement.
        """
        match statement:
            case ast.ClassDef(name=name):
                self._names[name] = EntryClass(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                self._functions.add(name)
                self._names.pop(name, None)
            case ast.Import() | ast.ImportFrom():
                self._forget(alias.asname or alias.name for alias in statement.names)
            case ast.Assign(targets=targets, value=value):
                self._changed_in(value)
                stored = self._stored(value)
                for target in targets:
                    self._bind(target, stored)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._changed_in(value)
                self._bind(target, self._stored(value))
            case ast.AugAssign(target=ast.Name(id=name) as target, op=op, value=value):
                loaded = ast.copy_location(ast.Name(name, ast.Load()), target)
                self._names[name] = self.value(ast.copy_location(ast.BinOp(loaded, op, value), target))
            case ast.Expr(value=ast.Call() as call):
                self._call(call)
            case ast.With(items=[ast.withitem(context_expr=opened, optional_vars=ast.Name() as target)], body=body):
                self._bind(target, self._stored(opened))
                for inner in body:
                    self.run(inner)
            case _:
                self._forget(_bound_in(statement))
                self._changed_in(statement)

    def _stored(self, node: ast.expr) -> Any:
        """The value to bind. It is not copied, so that a change through one name changes it for all names."""
        try:
            return self._value(node)
        except Exception:
            return Unread(ast.unparse(node))

    def _bind(self, target: ast.expr, value: Any) -> None:
        match target:
            case ast.Name(id=name):
                self._names[name] = value
            case ast.Subscript(value=ast.expr() as container, slice=key):
                self._set_item(container, self.value(key), value)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                known = isinstance(value, list | tuple) and len(value) == len(parts)
                for part, one in zip(parts, value if known else [Unread("")] * len(parts), strict=True):
                    self._bind(part, one)
            case ast.Starred(value=inner):
                self._bind(inner, Unread(ast.unparse(target)))

    def _set_item(self, container: ast.expr, key: Any, value: Any) -> None:
        try:
            self._value(container)[_known(key)] = value
        except Exception:
            self._forget(_names_in(container))

    def _call(self, call: ast.Call) -> None:
        match call:
            case ast.Call(func=ast.Attribute(value=path, attr="write_text"), args=[text, *_]):
                where, written = self.value(path), self.value(text)
                if isinstance(where, Path):
                    self._written.pop(self.resolved(where), None)
                    if isinstance(written, str):
                        self._written[self.resolved(where)] = written
            case ast.Call(func=ast.Attribute(value=changed, attr="update" | "append" | "extend" as verb)):
                try:
                    target = self._value(changed)
                    given = [self.value(argument) for argument in call.args]
                    named = {keyword.arg: self.value(keyword.value) for keyword in call.keywords if keyword.arg}
                    if any(isinstance(one, Unread) for one in given) or len(named) < len(call.keywords):
                        raise _UnreadError
                    getattr(target, verb)(*given, **named)
                except Exception:
                    self._forget(_names_in(changed))
            case _:
                self._changed_in(call)

    def _changed_in(self, node: ast.AST) -> None:
        """Forgets the names that a part of a cell may change by a method or by a function of the notebook."""
        for call in (one for one in ast.walk(node) if isinstance(one, ast.Call)):
            match call.func:
                case ast.Attribute(value=changed, attr=verb) if verb not in _PURE:
                    while isinstance(changed, ast.Subscript):
                        changed = changed.value
                    if isinstance(changed, ast.Name) and isinstance(self._names.get(changed.id), dict | list):
                        self._forget([changed.id])
                case ast.Name(id=name) if name in self._functions:
                    given = [*call.args, *(keyword.value for keyword in call.keywords)]
                    self._forget(name for argument in given for name in _names_in(argument))
        for one in ast.walk(node):
            if isinstance(one, ast.Subscript) and isinstance(one.ctx, ast.Store | ast.Del):
                self._forget(_names_in(one.value))

    def _forget(self, names: Iterable[str]) -> None:
        for name in names:
            if not isinstance(self._names.get(name), EntryClass):
                self._names[name] = Unread(name)

    # --- expressions -----------------------------------------------------------------------------------------------

    def _value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                found = self._names.get(name, Unread(name))
                if isinstance(found, Unread):
                    raise _UnreadError
                return found
            case ast.Dict(keys=keys, values=values):
                return self._mapping(keys, values)
            case ast.List(elts=elements):
                return self._items(elements)
            case ast.Tuple(elts=elements):
                return tuple(self._items(elements))
            case ast.JoinedStr(values=parts):
                return "".join(self._text(part) for part in parts)
            case ast.BinOp(left=left, op=op, right=right):
                return _computed(op, self._value(left), self._value(right))
            case ast.UnaryOp(op=op, operand=operand):
                return _UNARY[type(op)](self._value(operand))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self._value(body if self._value(test) else orelse)
            case ast.Subscript(value=container, slice=key):
                return _known(self._value(container)[self._value(key)])
            case ast.Call():
                return self._result(node)
        raise _UnreadError

    def _mapping(self, keys: Iterable[ast.expr | None], values: Iterable[ast.expr]) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key, value in zip(keys, values, strict=True):
            read = self._stored(value)
            if key is None:
                found |= read if isinstance(read, dict) else {f"**{ast.unparse(value)}": Unread("")}
                continue
            name = self.value(key)
            found[ast.unparse(key) if isinstance(name, Unread) else name] = read
        return found

    def _items(self, elements: Iterable[ast.expr]) -> list[Any]:
        found: list[Any] = []
        for element in elements:
            if isinstance(element, ast.Starred):
                found.extend(self._value(element.value))
            else:
                found.append(_known(self._value(element)))
        return found

    def _text(self, part: ast.expr) -> str:
        if isinstance(part, ast.FormattedValue):
            spec = self._value(part.format_spec) if part.format_spec is not None else ""
            value = self._value(part.value)
            return format(repr(value) if part.conversion == ord("r") else value, spec)
        return str(self._value(part))

    def _result(self, call: ast.Call) -> Any:
        """The result of a call of a function that is known to have no effects."""
        match call:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="Graph"), attr="of"), args=[service, *_]):
                return EntryClass(self.entry(service))
            case ast.Call(func=ast.Attribute(value=ast.Name(id="Path"), attr="cwd"), args=[]):
                return self._folder
            case ast.Call(func=ast.Attribute(value=path, attr="read_text")):
                return self._contents(self._value(path))
            case ast.Call(func=ast.Attribute(value=value, attr="copy" | "resolve" | "absolute" | "expanduser")):
                read = self._value(value)
                return self.resolved(read) if isinstance(read, Path) else copy.copy(read)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="json"), attr="load" | "loads"), args=[source]):
                return json.loads(self._contents(self._value(source)))
            case ast.Call(func=ast.Attribute(value=ast.Name(id="yaml"), attr="safe_load"), args=[source]):
                with suppress(yaml.YAMLError):
                    return from_yaml(self._contents(self._value(source)))
            case ast.Call(func=ast.Name(id="open"), args=[path, *_]):
                return _OpenFile(Path(self._value(path)))
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(value=ast.Name(id="copy" | "pathlib"), attr=name)) if (
                name in _CONVERSIONS
            ):
                if all(keyword.arg for keyword in call.keywords):
                    given = [self._value(argument) for argument in call.args]
                    named = {str(keyword.arg): self._stored(keyword.value) for keyword in call.keywords}
                    return _CONVERSIONS[name](*given, **named)
        raise _UnreadError

    def _contents(self, source: Any) -> str:
        """The text of a file, or a text itself."""
        if isinstance(source, str):
            return source
        path = source.path if isinstance(source, _OpenFile) else Path(source)
        written = self.written_text(path)
        return self.resolved(path).read_text("utf-8") if written is None else written


def _computed(op: ast.operator, left: Any, right: Any) -> Any:
    if isinstance(op, ast.Mult | ast.Pow | ast.LShift):
        bound = _LARGEST if isinstance(op, ast.Mult) else _LONGEST_SHIFT
        if not (isinstance(left, int | float) and isinstance(right, int | float)):
            raise _UnreadError
        if abs(left) > _LARGEST or abs(right) > bound:
            raise _UnreadError
    return _OPERATIONS[type(op)](left, right)


def _known(value: Any) -> Any:
    if isinstance(value, Unread) or (isinstance(value, dict) and any(_has_unread(one) for one in value.values())):
        raise _UnreadError
    return value


def _has_unread(value: Any) -> bool:
    return isinstance(value, Unread) or (isinstance(value, dict) and any(map(_has_unread, value.values())))


def _bound_in(node: ast.AST) -> list[str]:
    return [o.id for o in ast.walk(node) if isinstance(o, ast.Name) and isinstance(o.ctx, ast.Store | ast.Del)]


def _names_in(node: ast.AST) -> list[str]:
    return [one.id for one in ast.walk(node) if isinstance(one, ast.Name)]
