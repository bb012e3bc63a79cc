"""Source maps: which cell each line of a module was typed in.

A source map is written next to the folder of the code, not into it, so that the code is the same bytes everywhere.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

_SUFFIX = ".cells.json"


class Span(NamedTuple):
    """Consecutive lines of a module that were typed in one cell.

    line: the first of them in the module, from 1. lines: how many. cell: the cell's name in a traceback, such as
    `cell 7 "Backend"`. cell_line: the first of them in the cell, from 1.
    """

    line: int
    lines: int
    cell: str
    cell_line: int


SourceMap: TypeAlias = tuple[Span, ...]


def locate(source_map: Sequence[Span], line: int) -> str:
    """The location where a line of a module was typed, as `cell 7 "Backend", line 12`; "" for a generated line."""
    spans = sorted(source_map)
    at = bisect_right(spans, line, key=lambda span: span.line) - 1
    if at < 0 or line >= spans[at].line + spans[at].lines:
        return ""
    return f"{spans[at].cell}, line {spans[at].cell_line + line - spans[at].line}"


def write_source_maps(source_maps: Mapping[str, SourceMap], folder: Path) -> None:
    """Writes the source maps of a code folder next to it. source_maps: by the path of the module in the folder."""
    if source_maps:
        new = folder.with_name(f"{folder.name}.new")
        new.write_text(json.dumps(source_maps), encoding="utf-8")
        new.replace(f"{folder}{_SUFFIX}")


def read_source_maps(folder: str) -> dict[str, SourceMap]:
    """The source maps of a code folder. Raises OSError if none were written, or if they were removed."""
    written: dict[str, list[list[int | str]]] = json.loads(Path(folder + _SUFFIX).read_text(encoding="utf-8"))
    return {path: tuple(Span(*span) for span in spans) for path, spans in written.items()}  # type: ignore[arg-type]
