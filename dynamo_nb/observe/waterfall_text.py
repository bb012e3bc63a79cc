"""A trace as plain text: a row with a bar for each call."""

from __future__ import annotations

import math

from dynamo_nb.observe.units import duration
from dynamo_nb.observe.waterfall import Row, Waterfall

BAR = 40  # characters
_NAME = 44
"""Names up to this width are padded, so that the bars are in one column."""
_LONGEST = 160
"""Characters of a remark."""
CALL, REQUEST, FIRST, FAILED, OPEN = "░", "█", "◆", "✗", "→"


def text(waterfall: Waterfall) -> str:
    """Returns the waterfall as lines.

    `░` is the call, `█` the worker, `◆` the first item of a stream, `✗` a failed attempt, `→` a call without an end.
    """
    rows = waterfall.rows
    width = max(len(_name(row)) for row in rows if len(_name(row)) <= _NAME or row is rows[0])
    lines = [waterfall.title, f"{'':<{width}} 0{duration(waterfall.seconds):>{BAR - 1}}"]
    for row in rows:
        lines.append(f"{_name(row):<{width}} {_bar(row, waterfall.seconds)} {row.summary}".rstrip())
        lines += [f"{'':<{width}} {remark[:_LONGEST]}" for remark in row.remarks]
    return "\n".join(lines)


def _name(row: Row) -> str:
    return row.branch + row.whole.name


def _bar(row: Row, scale: float) -> str:
    cells = [" "] * BAR

    def at(seconds: float) -> int:
        return min(int(seconds / scale * BAR + 1e-6), BAR - 1)

    def fill(begin: float, end: float | None, mark: str) -> None:
        last = max(math.ceil((scale if end is None else end) / scale * BAR - 1e-6) - 1, at(begin))
        for cell in range(at(begin), last + 1):
            cells[cell] = mark
        if end is None:
            cells[last] = OPEN

    if row.caller is not None:
        fill(row.caller.begin, row.caller.end, CALL)
    for span in row.served:
        fill(span.begin, span.end, REQUEST)
    for one in row.whole.tries:
        if one.error:
            fill(one.begin, one.end or one.begin, FAILED)
    if row.whole.first is not None:
        cells[at(row.whole.first)] = FIRST
    return "".join(cells)
