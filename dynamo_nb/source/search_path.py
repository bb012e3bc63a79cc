"""Folders that a notebook or a program adds to `sys.path`. Their modules are code of the graph."""

from __future__ import annotations

import ast
import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path

from dynamo_nb.source.statements import parse


def process_search_path() -> tuple[str, ...]:
    """The search path of this process."""
    return tuple(str(Path(entry).resolve()) for entry in sys.path)


def saved_search_path(cells: Iterable[str], folder: Path) -> tuple[str, ...]:
    """The search path of a notebook that has not run: that of this process, with the folders that its cells add.

    Args:
        cells: The texts of the cells.
        folder: The folder of the notebook, in which it runs.
    """
    path = list(process_search_path())
    for statement in (one for text in cells for one in parse(text).statements):
        for node in ast.walk(statement.node):
            for index, added in _added(node):
                with suppress(_UnknownError):
                    place = index if index is not None else len(path)
                    path.insert(place, str((folder / _text(added, folder)).resolve()))
    return tuple(path)


def folders_beyond(path: Sequence[str], name: str) -> Iterator[Path]:
    """The folders in which Python looks for a module before it finds an installed package.

    Args:
        path: The search path.
        name: The name of a top-level module.
    """
    for entry in path:
        if not _is_installed(entry):
            yield Path(entry)
        elif (spec := PathFinder.find_spec(name, [entry])) is not None and spec.loader is not None:
            return


@lru_cache(maxsize=1024)
def _is_installed(entry: str) -> bool:
    """True if an entry of a search path is the interpreter's own, or that of an installed package."""
    return entry.endswith(".zip") or any(Path(entry).is_relative_to(own) for own in _own_folders())


@lru_cache(maxsize=1)
def _own_folders() -> tuple[Path, ...]:
    folders = {sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")}
    packages = {*site.getsitepackages(), site.getusersitepackages()}
    # Packages in development are installed by files with the path of their source.
    for file in (file for folder in tuple(packages) for file in sorted(Path(folder).glob("*.pth"))):
        with suppress(OSError, UnicodeDecodeError):
            packages.update(line for line in file.read_text().splitlines() if Path(line).is_absolute())
    return tuple(Path(folder).resolve() for folder in folders | packages)


# --- the text of a cell


class _UnknownError(Exception):
    """The value of an expression is known only when it runs."""


def _added(node: ast.AST) -> Iterator[tuple[int | None, ast.expr]]:
    """The folders that an expression adds to `sys.path`, each with its index; None for the end."""
    match node:
        case ast.Call(func=ast.Attribute(value=path, attr="append"), args=[added]) if _is_path(path):
            yield None, added
        case ast.Call(func=ast.Attribute(value=path, attr="insert"), args=[_, added]) if _is_path(path):
            yield 0, added
        case ast.Call(func=ast.Attribute(value=path, attr="extend"), args=[ast.List() | ast.Tuple() as some]) if (
            _is_path(path)
        ):
            yield from ((None, one) for one in some.elts)
        case ast.AugAssign(target=path, value=ast.List() | ast.Tuple() as some) if _is_path(path):
            yield from ((None, one) for one in some.elts)
        case ast.Call(func=ast.Attribute(attr="addsitedir"), args=[added]):
            yield None, added


def _is_path(node: ast.expr) -> bool:
    return ast.unparse(node) in ("sys.path", "path")


def _text(node: ast.expr, folder: Path) -> str:
    """The value of an expression for a folder, in the usual forms."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr() | ast.Name():
            raise _UnknownError
        case ast.BinOp(left=left, op=ast.Div() | ast.Add() as operation, right=right):
            parts = _text(left, folder), _text(right, folder)
            return os.path.join(*parts) if isinstance(operation, ast.Div) else "".join(parts)  # noqa: PTH118
        case ast.Attribute(value=value, attr="parent"):
            return str((folder / _text(value, folder)).resolve().parent)
        case ast.Call(func=ast.Attribute(value=value, attr="resolve" | "absolute" | "as_posix" | "expanduser")):
            return str((folder / Path(_text(value, folder)).expanduser()).resolve())
        case ast.Call(func=ast.Attribute(attr="cwd" | "getcwd")):
            return str(folder)
        case ast.Call(func=ast.Attribute(attr="join"), args=parts):
            return os.path.join(*(_text(one, folder) for one in parts))  # noqa: PTH118
        case ast.Call(func=ast.Attribute(attr="dirname"), args=[value]):
            return str(Path(_text(value, folder)).parent)
        case ast.Call(func=ast.Attribute(attr="abspath" | "realpath" | "normpath" | "expanduser"), args=[value]):
            return str((folder / Path(_text(value, folder)).expanduser()).resolve())
        case ast.Call(func=ast.Name(id="str" | "Path") | ast.Attribute(attr="Path" | "fspath"), args=[value]):
            return _text(value, folder)
    raise _UnknownError
