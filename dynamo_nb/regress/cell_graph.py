"""Which cells of a notebook need which, by the names that they bind and use."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from dynamo_nb.source.statements import Statement, parse

_WORD = re.compile(r"[^\W\d]\w*")
_MAGICS = {"run_line_magic", "run_cell_magic", "system", "getoutput"}


def needed_by(texts: Sequence[str], failed: Sequence[int]) -> dict[int, int]:
    """Returns the cells that need a failed one, each with the failed cell that it needs.

    Args:
        texts: The code cells, in order.
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
            for name in binds:  # bound anew
                lost.pop(name, None)
            continue
        if position != reason:
            found[position] = reason
        lost |= dict.fromkeys(binds, reason)
    return found


def _names(text: str) -> tuple[set[str], set[str], bool]:
    """The names that a cell binds or changes, those that it uses, and whether it may use any name."""
    parsed = parse(text)
    if parsed.fault:  # a cell magic, or no Python: each of its words may be a name
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
