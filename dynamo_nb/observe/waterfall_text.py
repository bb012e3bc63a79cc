"""A trace as plain text: a row for each call, with its bar."""

from __future__ import annotations

import math

from dynamo_nb.observe.trace import Trace
from dynamo_nb.observe.waterfall import Row, duration, extent, rows, title

BAR = 40  # characters
_NAME = 44
"""Names up to this wide are padded, so that bars stand in one column."""
_LONGEST = 160
"""Characters of a remark."""
WAY, WORK, FIRST, LOST, OPEN = "░", "█", "◆", "✗", "→"


def text(trace: Trace) -> str:
    """The waterfall: ░ the call, █ a worker at work, ◆ the first item of a stream, ✗ an attempt that failed."""
    whole, found = extent(trace), rows(trace)
    wide = max(len(_name(row)) for row in found if len(_name(row)) <= _NAME or row is found[0])
    lines = [title(trace), f"{'':<{wide}} 0{duration(whole):>{BAR - 1}}"]
    for row in found:
        lines.append(f"{_name(row):<{wide}} {_bar(row, whole)} {row.said}".rstrip())
        lines += [f"{'':<{wide}} {remark[:_LONGEST]}" for remark in row.remarks]
    return "\n".join(lines)


def _name(row: Row) -> str:
    return row.branch + row.seen.name


def _bar(row: Row, whole: float) -> str:
    cells = [" "] * BAR

    def at(seconds: float) -> int:
        return min(int(seconds / whole * BAR + 1e-6), BAR - 1)

    def fill(begin: float, end: float | None, mark: str) -> None:
        last = max(math.ceil((whole if end is None else end) / whole * BAR - 1e-6) - 1, at(begin))
        for cell in range(at(begin), last + 1):
            cells[cell] = mark
        if end is None:
            cells[last] = OPEN

    if row.caller is not None:
        fill(row.caller.begin, row.caller.end, WAY)
    for span in row.served:
        fill(span.begin, span.end, WORK)
    for one in row.seen.tries:
        if one.error:
            fill(one.begin, one.end or one.begin, LOST)
    if row.seen.first is not None:
        cells[at(row.seen.first)] = FIRST
    return "".join(cells)
