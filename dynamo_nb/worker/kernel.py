"""A worker as a Jupyter kernel: the service runs on the kernel's event loop, and clients run cells beside it.

Output of the service goes to the worker's log. Output of a cell goes to the client that ran it.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # without it the debugger writes a warning to every log

from ipykernel.iostream import OutStream
from ipykernel.kernelapp import IPKernelApp
from traitlets.config import Config


class WorkerStream(OutStream):  # type: ignore[misc]
    """Standard output and error. Text that a cell writes goes to the cell; all other text goes to the log.

    ipykernel assigns the output of threads and tasks that belong to no cell to the latest cell, which would then show
    what the service prints.
    """

    def _in_a_cell(self) -> bool:
        try:
            return bool(self._parent_header.get())
        except LookupError:
            return False

    def _log(self) -> Any:
        return sys.__stderr__ if self.name == "stderr" else sys.__stdout__

    def write(self, string: str) -> int | None:
        if self._in_a_cell():
            return super().write(string)  # type: ignore[no-any-return]
        log = self._log()
        written: int = log.write(string)
        if "\n" in string:
            log.flush()
        return written

    def flush(self) -> None:
        if self._in_a_cell():
            super().flush()
        else:
            self._log().flush()

    def fileno(self) -> int:
        return self._log().fileno()  # type: ignore[no-any-return]


class WorkerApp(IPKernelApp):  # type: ignore[misc]
    """A kernel without a command line: constructing its parser takes a sixth of a kernel's start."""

    def parse_command_line(self, argv: list[str] | None = None) -> None:
        """Does nothing."""


class Kernel:
    """The kernel of this process, on the current event loop."""

    def __init__(self, connection_file: str) -> None:
        self._app = WorkerApp.instance(
            # No history on disk: every worker would write to it.
            config=Config(HistoryManager={"enabled": False}, IPKernelApp={"log_level": logging.CRITICAL}),
            connection_file=connection_file,
            outstream_class="dynamo_nb.worker.kernel.WorkerStream",
            capture_fd_output=False,
        )
        self._app.initialize()

    def bind(self, service: object) -> None:
        """Makes the service available to cells as `self`."""
        self._app.shell.user_ns["self"] = service

    def run(self) -> None:
        """Runs the event loop until it is stopped."""
        self._app.start()
