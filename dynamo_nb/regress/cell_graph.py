"""Dependencies between cells of a notebook, from the names that the cells bind and use."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from dynamo_nb.source.statements import Statement, parse

_WORD = re.compile(r"[^\W\d]\w*")
_MAGICS = {"run_line_magic", "run_cell_magic", "system", "getoutput"}


def needed_by(texts: Sequence[str], failed: Sequence[int]) -> dict[int, int]:
    """Returns the cells that need a failed cell, each with the failed cell.

    Args:
        texts: The texts of the code cells, in order.
        failed: The positions of the cells that failed or did not run, in order.

    Returns:
        Positions after the first failed cell. A cell that needs one of these needs the failed cell too.
    """
    found: dict[int, int] = {}
    lost: dict[str, int] = {}
    for position, text in enumerate(texts):
        binds, uses, anything = _names(text)
        reason = position if position in failed else next((lost[name] for name in sorted(uses) if name in lost), None)
        if reason is None and anything and lost:
            reason = min(lost.values())
        if reason is None:
            for name in binds:  # a passed cell binds them again
                lost.pop(name, None)
            continue
        if position != reason:
            found[position] = reason
        lost |= dict.fromkeys(binds, reason)
    return found


def _names(text: str) -> tuple[set[str], set[str], bool]:
    """The names that a cell binds or changes, the names that it uses, and True if it may use any name."""
    parsed = parse(text)
    if parsed.fault:  # a cell magic, or not Python: each word may be a name
        words = set(_WORD.findall(text))
        return words, words, False
    binds, uses, anything = set[str](), set[str](), False
    for statement in parsed.statements:
        names = statement.names
        binds |= names.binds | names.weak | names.appends
        uses |= {use.name for use in names.uses} | names.changes | names.appends | set(_words_of_magics(statement))
        anything |= bool(names.unknown_line)
    return binds, uses, anything


def _words_of_magics(statement: Statement) -> Iterator[str]:
    """The words in the line of a magic, such as `Frontend` in `%dynamo serve Frontend`."""
    for node in ast.walk(statement.node):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _MAGICS:
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield from _WORD.findall(part.value)
