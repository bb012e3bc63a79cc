"""The figures as a table for people and as JSON for programs."""

import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata

import psutil
from goals import Benchmark, Row
from rounds import Measured

PEERS = ("dynamo-nb", "ai-dynamo-runtime", "ray", "ipyparallel", "ipykernel", "jupyter_client", "uvloop", "msgspec")


@dataclass(frozen=True)
class Line:
    """A row with what was measured. ours, peer, value: medians over the rounds, and what the goal is about.

    low, high: the least and the greatest value of a single round. note: why something is missing.
    """

    benchmark: str
    row: Row
    ours: float | None = None
    peer: float | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        return None if self.value is None else self.row.met(self.value)

    def as_json(self) -> dict:
        row = self.row
        return {
            "benchmark": self.benchmark,
            "title": row.title,
            "unit": row.unit,
            "against": row.peer,
            "how": row.how,
            "ours": self.ours,
            "peer": self.peer,
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "goal": row.goal,
            "better": row.better,
            "met": self.met,
            "note": self.note,
        }


def lines_of(benchmark: Benchmark, measured: Mapping[str, Measured]) -> list[Line]:
    return [_line(benchmark.name, row, measured) for row in benchmark.rows]


def _line(name: str, row: Row, measured: Mapping[str, Measured]) -> Line:
    ours, peer = measured[row.ours], measured.get(row.peer)
    mine = [row.scale * value for value in ours.of(row.figure)]
    theirs = [row.scale * value for value in peer.of(row.figure)] if peer is not None else []
    notes = [m.skipped or m.errors[-1] for m in (ours, peer) if m is not None and (m.skipped or m.errors)]
    note = "; ".join(notes)
    median = statistics.median(mine) if mine else None
    other = statistics.median(theirs) if theirs else None
    if median is None or (row.peer and other is None):
        return Line(name, row, median, other, note=note or "nothing was measured")
    each = [row.compare(a, b) for a, b in _pairs(row, ours, peer)] or [row.compare(median, other)]
    return Line(name, row, median, other, row.compare(median, other), min(each), max(each), note)


def _pairs(row: Row, ours: Measured, peer: Measured | None) -> list[tuple[float, float | None]]:
    """What was measured in the same round."""
    mine = [entry and row.scale * entry[row.figure] for entry in ours.figures]
    if peer is None:
        return [(a, None) for a in mine if a is not None]
    theirs = [entry and row.scale * entry[row.figure] for entry in peer.figures]
    return [(a, b) for a, b in zip(mine, theirs, strict=False) if a is not None and b is not None]


def number(value: float | None) -> str:
    if value is None:
        return "-"
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def goal(row: Row) -> str:
    sign = "≤" if row.better == "lower" else "≥"
    return f"{sign} {row.goal:g}" + ("" if row.how == "ratio" else f" {row.unit}")


def compared(line: Line) -> str:
    """What the goal is about, with its range over the rounds."""
    if line.value is None:
        return "-"
    return f"{number(line.value)} ({number(line.low)}..{number(line.high)})"


VERDICTS = {True: "yes", False: "NO", None: "?"}


def table(lines: Sequence[Line]) -> str:
    head = ("figure", "ours", "peer", "", "value (rounds)", "goal", "met")
    rows = [
        (
            line.row.title,
            f"{number(line.ours)} {line.row.unit}",
            number(line.peer) if line.row.peer else "",
            line.row.peer,
            compared(line),
            goal(line.row),
            VERDICTS[line.met],
        )
        for line in lines
    ]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    right = {1, 2, 4, 5}
    shown = [
        "  ".join(c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in [head, *rows]
    ]
    shown.insert(1, "-" * len(shown[0]))
    shown += [f"{line.row.title}: {line.note}" for line in lines if line.note]
    known = [line.met for line in lines if line.met is not None]
    return "\n".join([*shown, "", f"{sum(known)} of {len(known)} goals met"])


def machine() -> dict:
    """What the figures depend on."""
    versions = {}
    for name in PEERS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cores": psutil.cpu_count(),
        "load": psutil.getloadavg()[0],
        "versions": versions,
    }
