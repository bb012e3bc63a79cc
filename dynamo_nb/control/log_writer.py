"""Output of a process to its log. Writing does not fail, also where the log cannot be written."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

MOST_BYTES: Final = 100 * 2**20
"""Size from which a log takes no more until it is rotated: a burst of output must not fill the disk before that."""


def write_to(log: Path) -> None:
    """Lets standard output and standard error of this process go to a log, which is appended to.

    A log that cannot be opened is replaced by /dev/null.
    """
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout = sys.__stdout__ = log_stream(1)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = log_stream(2)  # type: ignore[misc]


def log_stream(descriptor: int) -> io.TextIOWrapper:
    """A text stream to a log. Text that UTF-8 cannot encode is escaped."""
    raw: io.RawIOBase = LogFile(descriptor, "wb", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True)


class LogFile(io.FileIO):
    """The file of a log. What cannot be written, as on a full disk, and what is too much is left out and counted."""

    _left_out = 0

    def write(self, data: ReadableBuffer) -> int:
        size = memoryview(data).nbytes
        try:
            if os.fstat(self.fileno()).st_size < MOST_BYTES:
                if self._left_out:
                    os.write(self.fileno(), f"\n[{self._left_out} bytes of output are missing here]\n".encode())
                    self._left_out = 0
                return super().write(data) or 0
        except OSError:
            pass
        self._left_out += size
        return size
