"""Reads the logs of workers: one file for each, and its older part after a rotation."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final

from dynamo_nb.control.log_lines import LineReader, LogLine, without_stamp
from dynamo_nb.source.tracebacks import with_cell_names

_TAIL_LINES, _TAIL_BYTES = 20, 64 * 1024
"""Shown of a log when its worker fails; the second bounds what is read of long lines."""
_BLOCK: Final = 64 * 1024
"""Bytes that are read at once, from the end of a log backwards."""


def older_part(log: Path) -> Path:
    """The file that holds the part of a log before its last rotation."""
    return log.with_name(log.name + ".1")


def log_tail(log: Path, end: int | None = None) -> str:
    """The last lines of a log, with cells in place of generated files; "" if it cannot be read.

    Args:
        log: its path.
        end: take the lines before this byte; None for the end of the file.
    """
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END) if end is None else end
            start = file.seek(max(end - _TAIL_BYTES, 0))
            lines = file.read(end - start).decode(errors="replace").splitlines()
    except OSError:
        return ""
    return with_cell_names("\n".join(map(without_stamp, lines[-_TAIL_LINES:])))


class LogTail:
    """Follows the logs in a folder.

    The files stay open, so that the last lines of a deployment can be read after its folder was removed.

    Args:
        folder: folder with the logs.
        service: read the logs of this service only. Without it the supervisor's own log is included, which says which
            workers ended and were started again.
        lines: number of lines to read from the end of each log that exists at first; None for all.
    """

    PAUSE: Final = 0.1
    """Seconds between two reads; a file does not notify its readers."""

    def __init__(self, folder: Path, service: str | None = None, lines: int | None = None) -> None:
        self._folder, self._lines = folder, lines
        self._names = "*.log" if service is None else f"{service}.*.log"
        self._logs: dict[Path, _Log] = {}

    @property
    def latest(self) -> dict[str, str]:
        """The last line read of each worker, by worker; it may not have ended yet, as in a progress bar."""
        return {path.stem: without_stamp(log.latest) for path, log in self._logs.items()}

    def read(self) -> Iterator[str]:
        """Yields the new lines since the last call, each after the name of its worker."""
        return map(str, self.read_lines())

    def read_lines(self) -> Iterator[LogLine]:
        """Yields the new lines since the last call, worker by worker."""
        now = time.time() if self._lines is None and self._logs else None
        with suppress(FileNotFoundError):  # the folder is removed when the deployment ends
            for path in set(self._folder.glob(self._names)) - set(self._logs):
                self._logs[path] = _Log(path, self._lines)
            self._lines = None  # a later log belongs to a new worker: all of its lines are new
        for _, log in sorted(self._logs.items()):
            for line in log.reader.read(log.read(), now):
                yield replace(line, text=with_cell_names(line.text)) if "/code/" in line.text else line

    def close(self) -> None:
        for log in self._logs.values():
            log.close()


def _title(log: Path) -> str:
    """The name of the worker in messages: `Backend[0]` for `Backend.0.log`."""
    service, _, index = log.stem.rpartition(".")
    return f"{service}[{index}]" if service else log.stem


class _Log:
    """One log, across its rotations. lines: how many of the existing lines to read first; None for all."""

    def __init__(self, path: Path, lines: int | None) -> None:
        self._path, self._file, self._first = path, path.open("rb"), lines
        self.reader = LineReader(_title(path))
        self._partial = b""  # a line that has not ended yet
        self.latest = ""

    def read(self) -> list[str]:
        """The lines that have ended since the last call."""
        first, self._first = self._first, None
        data = self._partial + (self._new() if first is None else self._last(first))
        whole, end, self._partial = data.rpartition(b"\n")
        lines = (whole + end).decode(errors="replace").splitlines()
        lines = lines if first is None else lines[max(len(lines) - first, 0) :]
        partial = self._partial.decode(errors="replace").splitlines() if first is None else []
        self.latest = next((line for line in [*reversed(partial), *reversed(lines)] if line.strip()), self.latest)
        return lines

    def _new(self) -> bytes:
        position, rest = self._file.tell(), b""
        if os.fstat(self._file.fileno()).st_size < position:  # rotated: the rest is in the older part
            # The older part of a log that was cut has a hole, and nothing where it is shorter.
            with suppress(OSError), older_part(self._path).open("rb") as before:
                before.seek(position, os.SEEK_DATA)
                rest = before.read()
            self._file.seek(0)
        return rest + self._file.read() + self._made_again()

    def _made_again(self) -> bytes:
        """The content of a log that was deleted and created again."""
        try:
            found, own = self._path.stat(), os.fstat(self._file.fileno())
            if (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino):
                return b""
            file = self._path.open("rb")
        except OSError:  # it is deleted, or the deployment has ended
            return b""
        self._file.close()
        self._file = file
        return file.read()

    def _last(self, lines: int) -> bytes:
        data = _from_end(self._file, lines)
        if data.count(b"\n") <= lines:  # with exactly as many, the first one may begin earlier
            with suppress(FileNotFoundError), older_part(self._path).open("rb") as before:
                data = _from_end(before, lines) + data
        return data

    def close(self) -> None:
        self._file.close()


def _from_end(file: BinaryIO, lines: int) -> bytes:
    """The end of a file, with at least this many lines if it has them; reads whole blocks from the end."""
    end = position = file.seek(0, os.SEEK_END)
    found, blocks = 0, [b""]
    while position > 0 and found <= lines:
        start = max(position - _BLOCK, 0)
        file.seek(start)
        blocks.append(file.read(position - start))
        position, found = start, found + blocks[-1].count(b"\n")
    file.seek(end)
    return b"".join(reversed(blocks))
