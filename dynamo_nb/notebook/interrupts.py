"""How a cell that was interrupted shows it: as KeyboardInterrupt at the person's own line, whatever it waited for.

ipykernel cancels the task of a cell that awaits, so that IPython would show a CancelledError from the depth of ours.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Any

_OURS = str(Path(__file__).parents[1])


class Interrupts:
    """Shows the interrupts of one shell, unless somebody else handles exceptions there already."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._latest: BaseException | None = None

    def begin(self) -> None:
        if not self._shell.custom_exceptions:
            self._shell.set_custom_exc((asyncio.CancelledError, KeyboardInterrupt), self._show)

    def end(self) -> None:
        if asyncio.CancelledError in self._shell.custom_exceptions:
            self._shell.set_custom_exc((), None)

    def ended(self, error: BaseException | None) -> BaseException | None:
        """What a cell ended with, given what it raised: front ends are told its name."""
        if error is None or error is not self._latest:
            return error
        return KeyboardInterrupt().with_traceback(error.__traceback__)

    def _show(
        self, shell: Any, kind: type, error: BaseException, trace: TracebackType, tb_offset: int | None = None
    ) -> None:
        if isinstance(error, asyncio.CancelledError) and not _cancelled():  # but something that it awaited
            shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
            return
        self._latest, shown = error, KeyboardInterrupt()
        lines = shell.InteractiveTB.structured_traceback(KeyboardInterrupt, shown, _of_others(trace), tb_offset)
        shell._showtraceback(KeyboardInterrupt, shown, lines)


def _cancelled() -> bool:
    """Whether the task that runs now, that of a cell, was told to end."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs
        return False
    return task is not None and task.cancelling() > 0


def _of_others(trace: TracebackType) -> TracebackType:
    """The traceback up to where it enters this package."""
    last = trace
    while last.tb_next is not None and not last.tb_next.tb_frame.f_code.co_filename.startswith(_OURS):
        last = last.tb_next
    last.tb_next = None
    return trace
