"""Output of a process to its log. Writing does not fail, also where the log cannot be written."""

from __future__ import annotations

import io
import os
import stat
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
"""Resolution of the times in a log, in seconds."""


def write_to(log: Path) -> None:
    """Lets standard output and standard error of this process go to a log, which is appended to.

    A log that cannot be opened is replaced by /dev/null.
    """
    for descriptor in (1, 2):
        try:
            _open_over(log, descriptor)
        except OSError:
            _open_over(os.devnull, descriptor)
    stamps = Stamps()
    sys.stdout = sys.__stdout__ = log_stream(1, stamps, log)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = log_stream(2, stamps, log)  # type: ignore[misc]


def _open_over(log: str | os.PathLike[str], descriptor: int) -> None:
    """Opens a log under an existing file descriptor."""
    opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(opened, descriptor)
    os.close(opened)


class Stamps:
    """Adds the time to the start of each line of a log. All streams to one log share it: both may write to one line."""

    def __init__(self) -> None:
        self._within_line = False
        self._made_at, self._stamp = 0.0, b""

    def __call__(self, data: bytes) -> bytes:
        """Returns the data, with the time before each line that begins in it.

        Args:
            data: Output.
        """
        if not data:
            return data
        if (now := time.time()) - self._made_at >= RESOLUTION:
            self._made_at, self._stamp = now, stamp(now).encode()
        *whole, rest = data.split(b"\n")
        first = b"" if self._within_line else self._stamp
        self._within_line = bool(rest)
        lines = (b"\n" + self._stamp).join([*whole, rest] if rest else whole)
        return first + lines + (b"" if rest else b"\n")


def log_stream(descriptor: int, stamps: Stamps | None = None, log: Path | None = None) -> io.TextIOWrapper:
    """Returns a text stream to a log. Text that UTF-8 cannot encode is escaped.

    Args:
        descriptor: File descriptor of the log.
        stamps: Adds the times; None for lines without times.
        log: Path of the log, to create it again after it was deleted; None to do nothing then.
    """
    raw: io.RawIOBase = LogFile(descriptor, stamps, log)
    # write_through keeps the order of text and bytes.
    return io.TextIOWrapper(
        LogBuffer(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True, write_through=True
    )


class LogBuffer(io.BufferedWriter):
    """The buffer of a log. It writes complete lines at once. It stays open when a wrapper around it is closed."""

    def write(self, data: ReadableBuffer) -> int:
        size = super().write(data)
        if b"\n" in bytes(data):
            self.flush()
        return size

    def close(self) -> None:
        self.flush()


class LogFile(io.FileIO):
    """The file of a log. Output beyond the size limit, or on a full disk, is counted and not written."""

    def __init__(self, descriptor: int, stamps: Stamps | None = None, log: Path | None = None) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._stamps, self._left_out = stamps, 0
        self._log = None if log is None else os.fspath(log)

    def write(self, data: ReadableBuffer) -> int:
        size = memoryview(data).nbytes
        try:
            if self._log is not None and self._is_gone(self._log):
                _open_over(self._log, self.fileno())
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

    def _is_gone(self, log: str) -> bool:
        """True if the log was deleted, or another file has its path."""
        own = os.fstat(self.fileno())
        if not stat.S_ISREG(own.st_mode):
            return False
        try:
            found = os.stat(log)  # noqa: PTH116 (half the time of a Path)
        except FileNotFoundError:
            return True
        return (found.st_dev, found.st_ino) != (own.st_dev, own.st_ino)
