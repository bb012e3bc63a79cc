"""The source text of an argument, as the caller wrote it. It is the name of a value without a name."""

from __future__ import annotations

import ast
import linecache
from itertools import islice
from types import FrameType
from typing import Final

LONGEST: Final = 60  # characters


def argument_text(frame: FrameType) -> str:
    """Returns the text of the first argument of the call that a frame executes; "" if it is not known.

    Args:
        frame: The frame of the caller.
    """
    tree, position = _source(frame)
    call = next((node for node in ast.walk(tree) if isinstance(node, ast.Call) and _at(node) == position), None)
    if call is None or not call.args:
        return ""
    text = " ".join(ast.unparse(call.args[0]).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def is_tested_for_membership(frame: FrameType) -> bool:
    """Returns True for the call in `call(x) in items`. Python compares it with each item.

    Args:
        frame: The frame of the caller.
    """
    tree, position = _source(frame)
    tests = (node for node in ast.walk(tree) if isinstance(node, ast.Compare) and _at(node.left) == position)
    return any(isinstance(operator, ast.In | ast.NotIn) for test in tests for operator in test.ops)


_Position = tuple[int | None, int | None, int | None, int | None]  # first line, last line, first byte, last byte


def _source(frame: FrameType) -> tuple[ast.AST, _Position]:
    """The source of a frame, and the position of the expression that the frame executes."""
    lines = linecache.getlines(frame.f_code.co_filename, frame.f_globals)
    positions: _Position = next(islice(frame.f_code.co_positions(), frame.f_lasti // 2, None))
    try:
        return ast.parse("".join(lines)), positions
    except SyntaxError:  # the file has changed since its import
        return ast.Module([], []), positions


def _at(node: ast.expr) -> _Position:
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset
