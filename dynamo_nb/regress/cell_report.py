"""The outcomes of the cells of a run, as lines of a file. The runner reads the file while the notebook runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from dynamo_nb.regress.recorder import VARIABLE

CELLS: Final = "cells.jsonl"


class CellOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """The outcome of one cell.

    Attributes:
        cell: Its label, such as `cell 4`.
        outcome: "running", "passed", "failed", "not run", or "ended": it failed, and no later cell can run.
        what: The reason of the failure, or the reason why it did not run.
        seconds: Its duration in seconds.
        memory: Maximum of the resident memory of the notebook's processes, in bytes.
        gpu: Maximum of the memory on GPUs, in bytes.
        title: Its first line.
    """

    cell: str
    outcome: str
    what: str = ""
    seconds: float = 0.0
    memory: int = 0
    gpu: int = 0
    title: str = ""


class CellReport:
    """Writes the outcomes.

    Args:
        path: The file; None to write nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    @classmethod
    def of_run(cls) -> CellReport:
        """Returns the report of the run of this process. Outside a run it writes nothing."""
        folder = os.environ.get(VARIABLE)
        return cls(Path(folder) / CELLS if folder else None)

    def started(self, cell: str, text: str) -> None:
        """Reports that a cell has started.

        Args:
            cell: Its label.
            text: Its source.
        """
        title = next((line.strip() for line in text.splitlines() if line.strip()), "")
        self._write(CellOutcome(cell, "running", title=title[:100]))

    def ended(
        self, cell: str, outcome: str, what: str = "", *, seconds: float = 0.0, memory: int = 0, gpu: int = 0
    ) -> None:
        """Reports the outcome of a cell. The arguments are the attributes of `CellOutcome`."""
        self._write(CellOutcome(cell, outcome, what, round(seconds, 3), memory, gpu))

    def _write(self, outcome: CellOutcome) -> None:
        if self._path is not None:
            with self._path.open("ab") as file:
                file.write(msgspec.json.encode(outcome) + b"\n")


def read_cells(folder: Path) -> list[CellOutcome]:
    """Returns the outcomes so far, one for each cell, in order. An incomplete last line is ignored.

    Args:
        folder: The folder of the run.
    """
    path = folder / CELLS
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    found: dict[str, CellOutcome] = {}
    for line in lines:
        if line.endswith(b"\n"):
            outcome = msgspec.json.decode(line, type=CellOutcome)
            title = outcome.title or (found[outcome.cell].title if outcome.cell in found else "")
            found[outcome.cell] = msgspec.structs.replace(outcome, title=title)
    return list(found.values())
