"""From the lines of a module back to the lines of the cells that they were typed in."""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import NamedTuple

from dynamo_nb.source.cells import Cell
from dynamo_nb.source.interface import Aliases, is_service
from dynamo_nb.source.statements import parse


class Span(NamedTuple):
    """Lines of a module that stand in a cell. line: the first one in the module, from 1. lines: how many.

    cell: what a traceback calls it, such as `cell 7 "Backend"`. cell_line: the first one in the cell as it was typed.
    """

    line: int
    lines: int
    cell: str
    cell_line: int


@lru_cache(maxsize=512)
def title(cell: Cell, known: Aliases) -> str:
    """A cell's label with what it defines: its first service, else its first class or function."""
    nodes = [one.node for one in parse(cell.text).statements]
    named = [one for one in nodes if isinstance(one, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)]
    first = next((one for one in named if is_service(one, known)), named[0] if named else None)
    return f'{cell.label} "{first.name}"' if first else cell.label
