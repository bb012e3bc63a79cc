"""Output of a process to its log. Writing does not fail, also where the log cannot be written."""

from __future__ import annotations

import io
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dynamo_nb.control.log_lines import stamp

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

MOST_BYTES: Final = 100 * 2**20
"""Size from which a log takes no more until it is rotated: a burst of output must not fill the disk before that."""

RESOLUTION: Final = 0.001
"""Seconds that times in a log are apart at least."""


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
    stamps = Stamps()
    sys.stdout = sys.__stdout__ = log_stream(1, stamps)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = log_stream(2, stamps)  # type: ignore[misc]


class Stamps:
    """Puts the time in front of each line of a log. The streams to one log share it: a line may come from both."""

    def __init__(self) -> None:
        self._within_line = False
        self._made_at, self._stamp = 0.0, b""

    def __call__(self, data: bytes) -> bytes:
        """Returns the data with the time in front of the lines that begin in it."""
        if not data:
            return data
        if (now := time.time()) - self._made_at >= RESOLUTION:
            self._made_at, self._stamp = now, stamp(now).encode()
        *whole, rest = data.split(b"\n")
        first = b"" if self._within_line else self._stamp
        self._within_line = bool(rest)
        lines = (b"\n" + self._stamp).join([*whole, rest] if rest else whole)
        return first + lines + (b"" if rest else b"\n")


def log_stream(descriptor: int, stamps: Stamps | None = None) -> io.TextIOWrapper:
    """A text stream to a log, with the time of each line if `stamps` are given.

    Text that UTF-8 cannot encode is escaped.
    """
    raw: io.RawIOBase = LogFile(descriptor, stamps)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True)


class LogFile(io.FileIO):
    """The file of a log. What cannot be written, as on a full disk, and what is too much is left out and counted."""

    def __init__(self, descriptor: int, stamps: Stamps | None = None) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._stamps, self._left_out = stamps, 0

    def write(self, data: ReadableBuffer) -> int:
        size = memoryview(data).nbytes
        try:
            if os.fstat(self.fileno()).st_size < MOST_BYTES:
                if self._left_out:
                    os.write(self.fileno(), f"\n[{self._left_out} bytes of output are missing here]\n".encode())
                    self._left_out = 0
                if self._stamps is None:
                    return super().write(data) or 0
                stamped = memoryview(self._stamps(bytes(data)))
                while stamped:
                    stamped = stamped[super().write(stamped) or 0 :]
                return size
        except OSError:
            pass
        self._left_out += size
        return size
