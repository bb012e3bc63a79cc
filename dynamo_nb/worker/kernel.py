"""A worker as a Jupyter kernel: the service runs on the kernel's event loop, its shell stays open for a person.

What the service prints goes to the worker's log. What a person's cell prints goes to that person.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # else the debugger warns in every log

from ipykernel.iostream import OutStream
from ipykernel.kernelapp import IPKernelApp
from traitlets.config import Config


class WorkerStream(OutStream):  # type: ignore[misc]
    """Standard output and error. Text written while a cell runs is that cell's; all else is the service's.

    ipykernel falls back to the latest cell for threads and tasks that belong to none, and would show one person's
    cell what the service prints.
    """

    def _of_a_cell(self) -> bool:
        try:
            return bool(self._parent_header.get())
        except LookupError:
            return False

    def _log(self) -> Any:
        return sys.__stderr__ if self.name == "stderr" else sys.__stdout__

    def write(self, string: str) -> int | None:
        if self._of_a_cell():
            return super().write(string)  # type: ignore[no-any-return]
        log = self._log()
        written: int = log.write(string)
        if "\n" in string:
            log.flush()
        return written

    def flush(self) -> None:
        if self._of_a_cell():
            super().flush()
        else:
            self._log().flush()

    def fileno(self) -> int:
        return self._log().fileno()  # type: ignore[no-any-return]


class WorkerApp(IPKernelApp):  # type: ignore[misc]
    """Without a command line, to build whose parser takes a sixth of a kernel's start."""

    def parse_command_line(self, argv: list[str] | None = None) -> None:
        """There is none."""


class Kernel:
    """The kernel of this process, on the current event loop."""

    def __init__(self, connection_file: str) -> None:
        self._app = WorkerApp.instance(
            # A history on disk would be one more file that every worker writes.
            config=Config(HistoryManager={"enabled": False}, IPKernelApp={"log_level": logging.CRITICAL}),
            connection_file=connection_file,
            outstream_class="dynamo_nb.worker.kernel.WorkerStream",
            capture_fd_output=False,
        )
        self._app.initialize()

    def bind(self, service: object) -> None:
        """Makes the live service `self` in the kernel's cells."""
        self._app.shell.user_ns["self"] = service

    def run(self) -> None:
        """Runs the event loop until it is stopped."""
        self._app.start()
