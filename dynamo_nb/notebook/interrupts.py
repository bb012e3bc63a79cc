"""Interrupted cells: shown as KeyboardInterrupt at the user's own line, also if the cell was waiting in this package.

ipykernel cancels the task of a cell that awaits, so IPython would show a CancelledError from deep inside this package.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Any

_PACKAGE = str(Path(__file__).parents[1])


class Interrupts:
    """Shows the interrupts of one shell, unless it has another custom exception handler.

    Args:
        shell: The IPython shell.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._latest: BaseException | None = None

    def begin(self) -> None:
        """Installs the exception handler."""
        if not self._shell.custom_exceptions:
            self._shell.set_custom_exc((asyncio.CancelledError, KeyboardInterrupt), self._show)

    def end(self) -> None:
        """Removes the exception handler."""
        if asyncio.CancelledError in self._shell.custom_exceptions:
            self._shell.set_custom_exc((), None)

    def ended(self, error: BaseException | None) -> BaseException | None:
        """Returns the error with which a cell ends, for the front end.

        Args:
            error: Exception that the cell raised.

        Returns:
            A KeyboardInterrupt if the error was shown as one, else the error itself.
        """
        if error is None or error is not self._latest:
            return error
        return KeyboardInterrupt().with_traceback(error.__traceback__)

    def _show(
        self, shell: Any, kind: type, error: BaseException, trace: TracebackType, tb_offset: int | None = None
    ) -> None:
        if isinstance(error, asyncio.CancelledError) and not _is_cancelled():  # something it awaited was cancelled
            shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
            return
        self._latest, shown = error, KeyboardInterrupt()
        lines = shell.InteractiveTB.structured_traceback(KeyboardInterrupt, shown, _outside(trace), tb_offset)
        shell._showtraceback(KeyboardInterrupt, shown, lines)


def _is_cancelled() -> bool:
    """True if the task that runs now, that of the cell, is being cancelled."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop
        return False
    return task is not None and task.cancelling() > 0


def _outside(trace: TracebackType) -> TracebackType:
    """The traceback, cut where it enters this package."""
    last = trace
    while last.tb_next is not None and not last.tb_next.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        last = last.tb_next
    last.tb_next = None
    return trace
