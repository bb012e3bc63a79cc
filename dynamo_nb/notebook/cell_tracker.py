"""The cells of one IPython shell: those that ran, and the one that is running."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import replace
from types import FrameType
from typing import Any

from dynamo_nb.notebook import front_end
from dynamo_nb.sdk.origin import Origin
from dynamo_nb.source import Cell, CellBook
from dynamo_nb.source.headers import CONFIG, header_of


class CellTracker:
    """Records the cells of one shell.

    Attributes:
        book: The cells that ran, without the running one.
        running: The cell that is running, or None.
        deleted: Ids of cells that the notebook no longer has.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self.book = CellBook()
        self.running: Cell | None = None
        self.deleted: set[str] = set()

    def read_history(self) -> None:
        """Records the cells that ran before the extension was loaded. The last one is running: it loads it."""
        known = max((cell.number for cell in self.book), default=0)
        past = self._shell.history_manager
        failed = getattr(past, "exceptions", {})  # from IPython 9 on
        history = [
            Cell(text, f"cell {n}", n, failed_at=0 if n in failed else None)
            for n, text in enumerate(past.input_hist_raw)
            if n > known
        ]
        for earlier in history[:-1]:
            self.book.record(earlier)
        if history:
            self.running = replace(history[-1], cell_id=front_end.cell_id(self._shell))

    def start(self, info: Any) -> Cell:
        """Makes a cell the running one.

        Args:
            info: IPython's `ExecutionInfo` of the cell.

        Returns:
            The cell.
        """
        if self.running is not None:  # the extension was loaded in it, so its end was not reported
            self.book.record(self.running)
        # The shell's own count is one higher at this point from IPython 9 on.
        number = len(self._shell.history_manager.input_hist_raw)
        self.running = Cell(info.raw_cell, f"cell {number}", number, getattr(info, "cell_id", None))
        # The definitions of a deleted cell are still in the kernel. Its configuration is nowhere else.
        self.deleted.update(front_end.deleted_cells(self._shell))
        configs = (c.cell_id for c in self.book if c.cell_id in self.deleted and header_of(c.text, CONFIG) is not None)
        self.book.forget({cell_id for cell_id in configs if cell_id is not None})
        return self.running

    def finish(self, result: Any) -> Cell | None:
        """Records the running cell.

        Args:
            result: IPython's `ExecutionResult` of the cell.

        Returns:
            The cell as it is recorded, with `failed_at`; None if no cell is running.
        """
        if self.running is None:
            return None
        cell = replace(self.running, failed_at=self._failed_at(result))
        self.running = None
        self.book.record(cell)
        return cell

    def _failed_at(self, result: Any) -> int | None:
        if result.success:
            return None
        error = result.error_in_exec
        if error is None:
            return 0
        files = self._cell_numbers()
        lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename in files]
        return lines[0] if lines else 0

    def _cell_numbers(self) -> dict[str, int]:
        """File name to cell number, as IPython compiles cells."""
        return getattr(self._shell.compile, "_filename_map", {})

    @property
    def cells(self) -> Sequence[Cell]:
        """The cells that ran, and the running one."""
        return self.book.cells if self.running is None else self.book.followed_by(self.running)

    @property
    def running_key(self) -> str:
        """The key of the running cell, or ""."""
        return self.running.key if self.running is not None else ""

    @property
    def running_label(self) -> str:
        """The name of the running cell in messages."""
        return self.running.label if self.running is not None else "a cell"

    def origin(self, frame: FrameType) -> Origin | None:
        """Returns the cell and line that a frame runs; None if it does not run a cell."""
        number = self._cell_numbers().get(frame.f_code.co_filename)
        if number is None:
            return None
        cell = self.running
        if cell is None or cell.number != number:
            return Origin(frame.f_code.co_filename, f"cell {number}, line {frame.f_lineno}")
        return Origin(cell.key, f"{cell.label}, line {frame.f_lineno}")
