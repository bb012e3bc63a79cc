"""Uses of a dependency that is not linked. The attribute is None. The error of its use names the missing link."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from types import CodeType, TracebackType
from typing import Any

from dynamo_nb.errors import DependencyUnlinked, traceback_of
from dynamo_nb.sdk.dependency import Dependency, dependencies_of


def unlinked_error(error: BaseException) -> DependencyUnlinked | None:
    """Converts an error whose cause is a dependency without a link.

    Args:
        error: The error from the code of a service.

    Returns:
        The error for callers; None for another cause.
    """
    if not isinstance(error, AttributeError) or error.obj is not None or error.__traceback__ is None:
        return None
    last = error.__traceback__
    while last.tb_next is not None:
        last = last.tb_next
    dependency = _dependency(last)
    if dependency is None:
        return None
    owner, attribute, target = dependency.owner, dependency.attribute, dependency.target_name
    return DependencyUnlinked(
        f"{owner}.{attribute} is not linked to {target}, and {owner}.{attribute}.{error.name} was used",
        where=f"{owner}.{attribute} = depends({target})",
        remedy=f"link it: {owner}.link({target}); or test it first: if self.{attribute}: …",
        kind=type(error).__name__,
        traceback=traceback_of(error, error.__traceback__),
    )


def _dependency(raised: TracebackType) -> Dependency | None:
    """The dependency without a link that the failed instruction used; None for another cause."""
    frame = raised.tb_frame
    value = _value_read(frame.f_code, raised.tb_lasti)
    if value is None:
        return None
    name, attribute = value
    service: Any = frame.f_locals.get(name)
    if getattr(service, "__dict__", {}).get(attribute, service) is not None:
        return None
    return dependencies_of(type(service)).get(attribute)


@lru_cache(maxsize=256)
def _value_read(code: CodeType, instruction: int) -> tuple[str, str] | None:
    """The names in `self.backend` if an instruction reads an attribute of it, also through a local name."""
    _, end_line, _, end_column = next(islice(code.co_positions(), instruction // 2, None))
    try:
        tree = ast.parse("".join(linecache.getlines(code.co_filename)))
    except SyntaxError:
        return None
    # The first line and column may be those of the name alone, where the expression has several lines.
    values = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and (node.end_lineno, node.end_col_offset) == (end_line, end_column)
    ]
    value = values[0] if values else None
    if isinstance(value, ast.Name):
        assigned = list(_assigned(tree, code, value.id))
        value = assigned[0] if len(assigned) == 1 else None
    if isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name):
        return value.value.id, value.attr
    return None


def _assigned(tree: ast.Module, code: CodeType, name: str) -> Iterator[ast.expr]:
    """The values that a function assigns to a name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == code.co_name:
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            if first == code.co_firstlineno:
                for one in ast.walk(node):
                    if isinstance(one, ast.Assign) and any(getattr(t, "id", "") == name for t in one.targets):
                        yield one.value
